//! Class names as published: the id by which a result names its label map, and a colour a class.

use sha2::{Digest, Sha256};

use super::ClassMap;

/// Colours that stay apart on video, the most distinct first (after Kelly's 22 colours of maximum contrast, without
/// black, white and grey, which pictures are full of).
const PALETTE: [[u8; 3]; 18] = [
    [255, 179, 0],
    [0, 125, 220],
    [224, 0, 38],
    [0, 158, 73],
    [186, 85, 211],
    [0, 206, 209],
    [255, 104, 0],
    [166, 189, 215],
    [246, 118, 142],
    [147, 170, 0],
    [127, 62, 222],
    [206, 162, 98],
    [255, 0, 168],
    [127, 24, 13],
    [200, 255, 60],
    [35, 83, 170],
    [0, 255, 127],
    [89, 51, 21],
];

/// A colour for a class, always the same: the palette first, then hues a golden angle apart.
pub fn class_rgb(class_id: u32) -> [u8; 3] {
    if let Some(rgb) = PALETTE.get(class_id as usize) {
        return *rgb;
    }
    // Steps of 0.618... of the circle never come back close to a hue until many are taken; four levels of brightness
    // tell apart what comes closest. Integers: the same colour on any machine.
    let turn = (class_id.wrapping_mul(2_654_435_769) >> 16) as u64; // 16 bits of frac(class_id * 0.618...)
    let top = [255u64, 165, 225, 195][class_id as usize % 4];
    let (sector, low) = ((turn * 6) >> 16, top / 5);
    let rise = (((turn * 6) & 0xffff) * (top - low)) >> 16;
    let (up, down) = (low + rise, top - rise);
    let rgb = match sector {
        0 => [top, up, low],
        1 => [down, top, low],
        2 => [low, top, up],
        3 => [low, down, top],
        4 => [up, low, top],
        _ => [top, low, down],
    };
    rgb.map(|v| v as u8)
}

impl ClassMap {
    /// `LabelMap.id`: the first 4 bytes, little-endian, of SHA-256 over a line `class_id TAB name` for each class.
    pub fn id(&self) -> u32 {
        let mut hash = Sha256::new();
        for (class_id, name) in self.names.iter().enumerate() {
            hash.update(format!("{class_id}\t{name}\n"));
        }
        let digest = hash.finalize();
        u32::from_le_bytes([digest[0], digest[1], digest[2], digest[3]])
    }

    pub fn name(&self, class_id: u32) -> Option<&str> {
        self.names.get(class_id as usize).map(String::as_str)
    }

    /// See [`class_rgb`].
    pub fn rgb(&self, class_id: u32) -> [u8; 3] {
        class_rgb(class_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(names: &[&str]) -> ClassMap {
        ClassMap {
            names: names.iter().map(|n| (*n).to_owned()).collect(),
        }
    }

    #[test]
    fn id_is_that_of_an_independent_sha256() {
        // python3: int.from_bytes(hashlib.sha256(b"0\tbox\n1\tpallet\n").digest()[:4], "little")
        assert_eq!(map(&["box", "pallet"]).id(), 0x17b8_a63b);
        assert_eq!(map(&[]).id(), 0x42c4_b0e3); // SHA-256 of nothing: e3b0c442...
    }

    #[test]
    fn id_depends_on_order_and_not_on_joins() {
        assert_ne!(map(&["a", "b"]).id(), map(&["b", "a"]).id());
        assert_ne!(map(&["a\n1\tb"]).id(), map(&["a"]).id());
    }

    #[test]
    fn names_end_with_the_map() {
        let classes = map(&["box", "pallet"]);
        assert_eq!((classes.name(1), classes.name(2)), (Some("pallet"), None));
    }

    #[test]
    fn the_first_hundred_colours_differ() {
        let colours: Vec<[u8; 3]> = (0..100).map(class_rgb).collect();
        for (i, a) in colours.iter().enumerate() {
            for (j, b) in colours.iter().enumerate().skip(i + 1) {
                let apart: i32 = a
                    .iter()
                    .zip(b)
                    .map(|(p, q)| (i32::from(*p) - i32::from(*q)).abs())
                    .sum();
                assert!(apart >= if j < 18 { 60 } else { 4 }, "{i} {a:?} and {j} {b:?}");
            }
        }
        assert_eq!(class_rgb(0), [255, 179, 0]);
    }
}
