//! Of the mask head's K masks a detection has one that counts: that of its class (torchvision `maskrcnn_inference`).

pub mod check;
pub mod launch;

use super::sigmoid;
use crate::instances::Detection;

/// Why the mask head's output does not fit the detections.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MaskSelectError {
    #[error(
        "{got} mask logits: expected {expected} for {detections} detections, {classes} classes and a side of {side}"
    )]
    Logits {
        detections: usize,
        classes: usize,
        side: usize,
        expected: usize,
        got: usize,
    },
    #[error("detection {index} is of class {class_id}: expected one below {foreground}")]
    Class {
        index: usize,
        class_id: u32,
        foreground: usize,
    },
}

/// `logits` [R, K, S, S] with the background at 0 -> `probabilities` [R, S, S] (replaced): the sigmoid of channel
/// `class_id + 1` of each detection.
pub fn select(
    logits: &[f32],
    side: usize,
    classes: usize,
    detections: &[Detection],
    probabilities: &mut Vec<f32>,
) -> Result<(), MaskSelectError> {
    let cells = side * side;
    let (expected, got) = (detections.len() * classes * cells, logits.len());
    if expected != got {
        return Err(MaskSelectError::Logits {
            detections: detections.len(),
            classes,
            side,
            expected,
            got,
        });
    }
    probabilities.clear();
    for (index, detection) in detections.iter().enumerate() {
        let class_id = detection.class_id;
        let foreground = classes.saturating_sub(1);
        if class_id as usize >= foreground {
            return Err(MaskSelectError::Class {
                index,
                class_id,
                foreground,
            });
        }
        let start = (index * classes + class_id as usize + 1) * cells;
        probabilities.extend(logits[start..start + cells].iter().map(|&v| sigmoid(v)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::NetworkBox;
    use super::*;

    fn of_class(class_id: u32) -> Detection {
        Detection {
            class_id,
            score: 1.0,
            bounds: NetworkBox::new(0.0, 0.0, 1.0, 1.0),
        }
    }

    #[test]
    fn each_detection_gets_the_channel_of_its_class() {
        let three = 3f32.ln(); // sigmoid(ln 3) = 3/4
        // [2, 3, 1, 1]
        let logits = [9.0, 9.0, three, 9.0, -three, 9.0];
        let mut probabilities = vec![0.0; 9];
        select(&logits, 1, 3, &[of_class(1), of_class(0)], &mut probabilities).unwrap();
        assert_eq!(probabilities.len(), 2);
        assert!((probabilities[0] - 0.75).abs() < 1e-6 && (probabilities[1] - 0.25).abs() < 1e-6);
    }

    #[test]
    fn wrong_sizes_and_classes_are_named() {
        let mut out = vec![];
        let short = select(&[0.0; 7], 2, 2, &[of_class(0)], &mut out).unwrap_err();
        assert_eq!(
            short.to_string(),
            "7 mask logits: expected 8 for 1 detections, 2 classes and a side of 2"
        );
        let class = select(&[0.0; 8], 2, 2, &[of_class(1)], &mut out).unwrap_err();
        assert_eq!(
            class,
            MaskSelectError::Class {
                index: 0,
                class_id: 1,
                foreground: 1
            }
        );
    }
}
