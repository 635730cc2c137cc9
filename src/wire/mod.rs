//! Messages and keys of `maskcast.v1`. Belongs here: the schema, keys, attachments, one encode and one decode entry.
//! Not here: sessions and sockets (`outlets::publish`, `client`), what a robot may conclude from a message (`client`).
//!
//! Bytes in, values out: nothing here blocks, reads a clock on its own or trusts what it is given.

pub mod attachment;
mod convert;
pub mod decode;
pub mod encode;
mod form;
pub mod keyexpr;
mod named;
mod session_id;

pub use attachment::Attachment;
pub use convert::without_source_lines;
pub use form::{Form, FormError};
pub use named::{ENCODING_PREFIX, Named, SCHEMA_ENCODING};
pub use session_id::{SessionId, SessionIdError};

/// The messages as prost generates them from `proto/maskcast.proto`; field meanings stand there.
#[allow(missing_docs, clippy::all, unreachable_pub)]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/maskcast.v1.rs"));
}

/// No message is larger, so that each fits one zenoh batch (65 535 bytes).
pub const MESSAGE_LIMIT_BYTES: usize = 60_000;

/// Where a daemon listens unless told otherwise, and where clients look for it.
pub const DEFAULT_ENDPOINT: &str = "tcp/127.0.0.1:7447";

/// The first key chunk unless told otherwise.
pub const DEFAULT_PREFIX: &str = "maskcast";

/// zenoh lease on both ends: a hung peer is gone after this, not after zenoh's 10 s.
pub const LEASE: std::time::Duration = std::time::Duration::from_millis(1000);

/// The `FileDescriptorSet` of `maskcast.v1`, as served on the `schema` key and written into recordings.
pub fn schema() -> &'static [u8] {
    include_bytes!(concat!(env!("OUT_DIR"), "/maskcast.descriptors.bin"))
}

/// [`v1::LabelMap`] of a class map.
pub fn label_map(classes: &crate::instances::ClassMap) -> v1::LabelMap {
    let entries = (0u32..)
        .zip(&classes.names)
        .map(|(class_id, name)| {
            let [r, g, b] = classes.rgb(class_id);
            v1::label_map::Entry {
                class_id,
                name: name.clone(),
                rgb: u32::from_be_bytes([0, r, g, b]),
            }
        })
        .collect();
    v1::LabelMap {
        id: classes.id(),
        entries,
    }
}

#[cfg(test)]
mod tests {
    /// The schema is frozen: numbers, types and names of v1 stay; additions go into the committed snapshot by hand
    /// (`MASKCAST_BLESS=1 cargo test --lib wire`), where a reviewer sees them.
    #[test]
    fn the_schema_equals_the_committed_descriptors() {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/conformance/maskcast.v1.descriptors.bin"
        );
        if std::env::var_os("MASKCAST_BLESS").is_some() {
            std::fs::write(path, super::schema()).unwrap();
        }
        let frozen = std::fs::read(path).unwrap();
        assert!(
            frozen == super::schema(),
            "maskcast.proto no longer matches {path}: v1 only gains fields and values"
        );
    }
}
