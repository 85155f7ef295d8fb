//! Assembles the operator's image with a small Go program, which uses a library for the formats and the registry protocol.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::{Error, go_build::IMAGE};

/// Assembles an image: `args` are those of `testenv/image/main.go`. Returns the digest of its index.
///
/// # Errors
/// When a binary cannot be read, or a registry refuses the image.
pub async fn image<A: AsRef<OsStr>>(args: &[A]) -> Result<String, Error> {
    IMAGE.build(&["image"]).await?;
    let program = IMAGE.path("image")?;
    let output = Command::new(&program)
        .args(args)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Error::io("running", &program, error))?;
    if !output.status.success() {
        return Err(Error::Command {
            command: "image".to_owned(),
            status: output.status.to_string(),
            stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        });
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Unpacks the root of an image for `architecture` (`amd64`) from an OCI image layout in a tar file. Returns the configuration
/// of the image.
///
/// # Errors
/// When the file is not such a layout, or has no image for the architecture.
pub fn unpack_image(file: &Path, architecture: &str, root: &Path) -> Result<Value, Error> {
    let layout = tempfile::tempdir().map_err(|e| Error::io("making a folder for", file, e))?;
    unpack(file, layout.path())?;
    let json = |path: PathBuf| -> Result<Value, Error> {
        let text = std::fs::read(&path).map_err(|e| Error::io("reading", &path, e))?;
        serde_json::from_slice(&text).map_err(|e| Error::io("reading", &path, e.into()))
    };
    let blob = |descriptor: &Value| {
        let digest = descriptor["digest"].as_str().unwrap_or_default();
        layout.path().join("blobs").join(digest.replace(':', "/"))
    };
    let named = json(layout.path().join("index.json"))?;
    let index = json(blob(&named["manifests"][0]))?;
    let mut images = index["manifests"].as_array().into_iter().flatten();
    let image = images
        .find(|image| image["platform"]["architecture"] == architecture)
        .ok_or_else(|| Error::Answer {
            what: format!("looking for {architecture} in {}", file.display()),
            answer: "there is no image for it".to_owned(),
        })?;
    let manifest = json(blob(image))?;
    for layer in manifest["layers"].as_array().into_iter().flatten() {
        unpack(&blob(layer), root)?;
    }
    json(blob(&manifest["config"]))
}

fn unpack(file: &Path, to: &Path) -> Result<(), Error> {
    let failed = |error| Error::io("unpacking", file, error);
    std::fs::create_dir_all(to).map_err(failed)?;
    let mut tar = Command::new("tar");
    let status = tar.arg("-xf").arg(file).arg("-C").arg(to).status();
    if status.map_err(failed)?.success() {
        return Ok(());
    }
    Err(failed(std::io::ErrorKind::InvalidData.into()))
}
