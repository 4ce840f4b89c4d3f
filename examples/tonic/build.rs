//! Generates the service's Rust code from its description.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let description = protox::compile(["visits.proto"], ["proto"])?;
    Ok(tonic_prost_build::compile_fds(description)?)
}
