//! Compiles the contract with protox, so that nobody needs protoc.

use prost::Message as _;
use std::path::{Path, PathBuf};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut files = Vec::new();
    find(Path::new("p92"), &mut files)?;
    files.sort();
    println!("cargo:rerun-if-changed=p92");
    let mut compiler = protox::Compiler::new(["."])?;
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(&files)?;
    let descriptors = compiler.file_descriptor_set();
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let mut plain = descriptors.clone();
    for file in &mut plain.file {
        file.source_code_info = None;
    }
    std::fs::write(out.join("descriptors.bin"), plain.encode_to_vec())?;
    let mut config = tonic_prost_build::Config::new();
    config.bytes(["."]).enable_type_names();
    tonic_prost_build::configure().compile_fds_with_config(descriptors, config)?;
    Ok(())
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, files)?;
        } else if path.extension().is_some_and(|ending| ending == "proto") {
            files.push(path);
        }
    }
    Ok(())
}
