//! The assembled image: the same digest for the same files, and what a container runtime needs to run it.

use std::{ffi::OsString, fs, path::Path};

use serde_json::json;

/// Arguments that assemble `binaries` into `out`.
fn arguments(out: &Path, binaries: &[String]) -> Vec<OsString> {
    let licence = concat!(env!("CARGO_MANIFEST_DIR"), "/../LICENSE");
    let mut all: Vec<OsString> = [
        "-licence",
        licence,
        "-epoch",
        "1700000000",
        "-version",
        "1.2.3",
    ]
    .map(Into::into)
    .into();
    all.extend(["-name", "registry.example.com/apicred:dev"].map(Into::into));
    all.extend(["-out".into(), out.into()]);
    all.extend(binaries.iter().map(Into::into));
    all
}

#[tokio::test]
async fn the_same_files_become_the_same_image_and_it_has_what_a_runtime_needs() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    fs::write(at("one"), b"program one").expect("a file");
    fs::write(at("two"), b"program two").expect("a file");
    let amd = format!("linux/amd64={}", at("one").display());
    let arm = format!("linux/arm64={}", at("two").display());
    let mut digests = Vec::new();
    for (out, binaries) in [("a", [&amd, &arm]), ("b", [&arm, &amd])] {
        let binaries = binaries.map(Clone::clone);
        let made = testenv::image(&arguments(&at(out), &binaries)).await;
        digests.push(made.expect("an image"));
    }
    assert_eq!(digests[0], digests[1]);
    assert_eq!(fs::read(at("a")).unwrap(), fs::read(at("b")).unwrap());
    let other = testenv::image(&arguments(&at("c"), std::slice::from_ref(&amd))).await;
    assert_ne!(other.expect("an image"), digests[0]);

    for (architecture, program) in [("amd64", "program one"), ("arm64", "program two")] {
        let root = at(architecture);
        let config = testenv::unpack_image(&at("a"), architecture, &root).expect("an image");
        assert_eq!(config["architecture"], architecture);
        assert_eq!(config["config"]["User"], "65532:65532");
        assert_eq!(config["config"]["Entrypoint"], json!(["/apicred"]));
        assert_eq!(fs::read_to_string(root.join("apicred")).unwrap(), program);
        let roots = fs::read_to_string(root.join("etc/ssl/certs/ca-certificates.crt"));
        // Mozilla's list has had between 120 and 150 for years.
        assert!(roots.unwrap().matches("BEGIN CERTIFICATE").count() > 100);
        assert!(root.join("LICENSE").is_file());
    }
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("out");
    for (binaries, expected) in [
        (vec![], "name the file of the licence"),
        (vec!["apicred".to_owned()], "is not PLATFORM=FILE"),
        (vec!["linux/amd64=missing".to_owned()], "no such file"),
    ] {
        let message = testenv::image(&arguments(&out, &binaries)).await;
        let message = message.expect_err("no image").to_string();
        assert!(message.contains(expected), "{message}");
        assert!(!out.exists());
    }
}
