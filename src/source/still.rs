//! One picture from a file: PNG, JPEG or BMP, whatever the file's name says.

use std::io::Cursor;
use std::path::Path;

use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader};

use super::jpeg;
use crate::frame::{Image, PixelFormat};
use crate::geometry::ImageSize;

/// Whether the orientation that the camera noted in the file (EXIF) is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Orientation {
    Upright,
    AsStored,
}

/// Why a file is no picture. The caller names the file.
#[derive(Debug, thiserror::Error)]
pub enum StillError {
    #[error("cannot read: {0}")]
    Read(#[from] std::io::Error),
    #[error("not a picture: expected PNG, JPEG or BMP")]
    Format,
    #[error("the file is empty")]
    Empty,
    /// Decoders fill in what is missing; a half-grey picture must not look like a good one.
    #[error("damaged: {0}")]
    Damaged(String),
    #[error("cannot decode: {0}")]
    Decode(#[from] image::ImageError),
    #[error("the picture has no pixels ({0})")]
    NoPixels(ImageSize),
}

/// Grey stays grey, all else becomes RGB.
pub fn read_still(path: &Path, orientation: Orientation) -> Result<Image, StillError> {
    let bytes = std::fs::read(path)?;
    if bytes.is_empty() {
        return Err(StillError::Empty);
    }
    let reader = ImageReader::new(Cursor::new(&bytes)).with_guessed_format()?;
    let format = reader.format().ok_or(StillError::Format)?;
    if format == ImageFormat::Jpeg {
        jpeg::check(&bytes).map_err(|fault| StillError::Damaged(fault.to_string()))?;
    }
    let mut decoder = reader.into_decoder()?;
    let noted = decoder.orientation()?;
    let mut picture = DynamicImage::from_decoder(decoder)?;
    if orientation == Orientation::Upright {
        picture.apply_orientation(noted);
    }
    let size = ImageSize::new(picture.width(), picture.height());
    let (format, bytes) = match picture {
        DynamicImage::ImageLuma8(grey) => (PixelFormat::Gray8, grey.into_raw()),
        other => (PixelFormat::Rgb8, other.into_rgb8().into_raw()),
    };
    Image::packed(format, size, bytes).map_err(|_| StillError::NoPixels(size))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(name: &str, bytes: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
        let dir = tempfile::tempdir().expect("folder");
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).expect("writes");
        (dir, path)
    }

    fn encoded(format: ImageFormat) -> Vec<u8> {
        let picture = image::RgbImage::from_fn(33, 17, |x, y| image::Rgb([x as u8 * 7, y as u8 * 9, 40]));
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, format).expect("encodes");
        bytes.into_inner()
    }

    fn fault(bytes: &[u8]) -> String {
        let (_dir, path) = written("x.jpg", bytes);
        read_still(&path, Orientation::Upright)
            .expect_err("no picture")
            .to_string()
    }

    #[test]
    fn the_bytes_decide_not_the_name() {
        let (_dir, path) = written("x.jpg", &encoded(ImageFormat::Png));
        let image = read_still(&path, Orientation::Upright).expect("a PNG");
        assert_eq!((image.format, image.size), (PixelFormat::Rgb8, ImageSize::new(33, 17)));
        assert_eq!(&image.row(0, 2)[..6], &[0, 18, 40, 7, 18, 40]);
    }

    #[test]
    fn grey_stays_grey_and_an_absent_file_says_so() {
        let (dir, path) = written("grey.png", b"");
        image::GrayImage::from_pixel(1, 1, image::Luma([9]))
            .save(&path)
            .expect("saves");
        let image = read_still(&path, Orientation::Upright).expect("a picture");
        assert_eq!((image.format, image.bytes()), (PixelFormat::Gray8, &[9u8][..]));
        let absent = read_still(&dir.path().join("absent.png"), Orientation::Upright).expect_err("absent");
        assert!(absent.to_string().starts_with("cannot read: "), "{absent}");
    }

    #[test]
    fn pictures_that_are_cut_off_empty_or_something_else_are_refused() {
        let jpeg = encoded(ImageFormat::Jpeg);
        assert!(fault(&jpeg[..jpeg.len() * 2 / 3]).starts_with("damaged: JPEG "));
        let png = encoded(ImageFormat::Png);
        assert!(fault(&png[..png.len() * 2 / 3]).starts_with("cannot decode: "));
        // A PNG header that says 0 x 5; its checksum does not matter to the answer.
        let mut zero = png;
        zero[16..24].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 5]);
        assert!(!fault(&zero).is_empty());
        assert_eq!(fault(b""), "the file is empty");
        assert_eq!(
            fault(b"plain text, no picture at all"),
            "not a picture: expected PNG, JPEG or BMP"
        );
    }
}
