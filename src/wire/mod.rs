//! Messages and keys of `maskcast.v1`.

/// The messages as prost generates them from `proto/maskcast.proto`; field meanings stand there.
#[allow(missing_docs, clippy::all, unreachable_pub)]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/maskcast.v1.rs"));
}
