//! Which message a payload holds, as zenoh's encoding says it.

use super::v1;

/// Everything before the message's name.
pub const ENCODING_PREFIX: &str = "application/protobuf";

/// A message of `maskcast.v1` that travels on its own.
pub trait Named: prost::Message + Default {
    /// Name within the package.
    const NAME: &'static str;

    /// zenoh encoding of the message.
    fn encoding() -> String {
        format!("{ENCODING_PREFIX};maskcast.v1.{}", Self::NAME)
    }
}

macro_rules! named {
    ($($message:ident),* $(,)?) => {
        $(impl Named for v1::$message {
            const NAME: &'static str = stringify!($message);
        })*
    };
}

named!(FrameResult, CameraStatus, Health, SystemInfo, LabelMap, Error);

/// zenoh encoding of the schema itself.
pub const SCHEMA_ENCODING: &str = "application/protobuf;google.protobuf.FileDescriptorSet";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_schema() {
        assert_eq!(
            v1::FrameResult::encoding(),
            "application/protobuf;maskcast.v1.FrameResult"
        );
        // Every name stands in the descriptors, as a length-prefixed string.
        let schema = super::super::schema();
        for name in [
            v1::CameraStatus::NAME,
            v1::Health::NAME,
            v1::SystemInfo::NAME,
            v1::LabelMap::NAME,
            v1::Error::NAME,
        ] {
            assert!(schema.windows(name.len()).any(|w| w == name.as_bytes()), "{name}");
        }
    }
}
