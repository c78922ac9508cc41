//! Compiles the schema with protox (pure Rust, so no `protoc` has to be installed).

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto/postalynk.proto");
    let schema = protox::compile(["proto/postalynk.proto"], ["proto"])?;
    prost_build::Config::new()
        // Bodies are slices of the record they came in, not copies of it.
        .bytes(["."])
        .compile_fds(schema)?;
    Ok(())
}
