//! Compiles the wire schema. protox is a protobuf compiler in Rust: no `protoc` on the machine.

use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=src/wire/proto");
    let descriptors = protox::compile(["maskcast.proto"], ["src/wire/proto"])?;
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    // Served on the `schema` key and written into recordings.
    std::fs::write(out.join("maskcast.descriptors.bin"), prost_encode(&descriptors))?;
    prost_build::Config::new().bytes(["."]).compile_fds(descriptors)?;
    Ok(())
}

fn prost_encode(message: &impl prost::Message) -> Vec<u8> {
    message.encode_to_vec()
}
