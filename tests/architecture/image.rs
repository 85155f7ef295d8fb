//! The Dockerfile. It needs a container engine, so tests do not run it. They check that everything that it copies and builds exists.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// The entries of the build context: the entries that `.dockerignore` includes again after it has excluded everything.
fn context(ignore: &str) -> Vec<&str> {
    let lines = ignore.lines().map(str::trim);
    let mut patterns = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    assert_eq!(patterns.next(), Some("*"), "everything is excluded first");
    patterns.filter_map(|line| line.strip_prefix('!')).collect()
}

/// The paths that a Dockerfile copies from the build context.
fn copied(dockerfile: &str) -> Vec<&str> {
    let copies = dockerfile
        .lines()
        .filter_map(|line| line.strip_prefix("COPY "));
    let own = copies.filter(|rest| !rest.contains("--from="));
    own.flat_map(|rest| {
        let words: Vec<&str> = rest.split_whitespace().collect();
        words[..words.len().saturating_sub(1)].to_vec()
    })
    .collect()
}

/// The value after a flag of `cargo build`.
fn built<'a>(dockerfile: &'a str, flag: &str) -> Option<&'a str> {
    let command = dockerfile.split("cargo build").nth(1)?.lines().next()?;
    command.split(flag).nth(1)?.split([' ', ';']).next()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn copy(from: &Path, to: &Path) {
    if from.is_file() {
        fs::copy(from, to).expect("a copy");
        return;
    }
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let name = entry.file_name();
        // The folders that `.dockerignore` excludes.
        if name != "node_modules" && name != "target" {
            copy(&entry.path(), &to.join(name));
        }
    }
}

#[test]
fn the_build_context_of_the_image_has_what_the_build_reads() {
    let read = |name: &str| fs::read_to_string(root().join(name)).expect("a file");
    let (ignore, dockerfile) = (read(".dockerignore"), read("Dockerfile"));
    let context = context(&ignore);
    for left_out in ["**/node_modules", "**/target"] {
        assert!(ignore.lines().any(|line| line == left_out), "{left_out}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    for name in &context {
        let from = root().join(name);
        assert!(from.exists(), ".dockerignore: there is no {name}");
        copy(&from, &folder.path().join(name));
    }
    for name in copied(&dockerfile) {
        let there = folder.path().join(name);
        assert!(there.exists(), "Dockerfile: {name} is not in the context");
    }
    // All manifests and the targets without an explicit path are read.
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version=1"])
        .current_dir(folder.path())
        .output()
        .expect("cargo runs");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let (package, program) = (built(&dockerfile, "-p "), built(&dockerfile, "--bin "));
    let package = packages.iter().find(|p| p["name"].as_str() == package);
    let targets = package.expect("the package")["targets"].as_array();
    let is_program = |t: &&Value| t["kind"][0] == "bin" && t["name"].as_str() == program;
    let program = targets.expect("targets").iter().find(is_program);
    assert!(program.is_some(), "{targets:?}");
    // Files that the compiler reads in addition to the modules, outside of tests.
    for (path, text) in super::files() {
        let text = text.split("mod tests {").next().unwrap_or_default();
        let included =
            text.matches("include_str!").count() + text.matches("include_bytes!").count();
        assert!(
            included == 0 || super::is_test(&path),
            "{path} includes a file: is it in the build context? Then name it here"
        );
    }
}

/// `make image-oci` takes the program from the folder to which cargo writes it, and writes no folder of this machine into it.
#[test]
fn the_image_is_assembled_from_what_cargo_builds() {
    let plan = |folder: Option<&str>, architectures: &str| {
        let mut make = Command::new("make");
        let of = format!("IMAGE_ARCH={architectures}");
        make.args([
            "--dry-run",
            "image-oci",
            "PUSH=1",
            "IMAGE_FEATURES=--features otel",
            &of,
        ]);
        make.current_dir(root()).env_remove("CARGO_TARGET_DIR");
        make.envs(folder.map(|folder| ("CARGO_TARGET_DIR", folder)));
        let output = make.output().expect("make runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    for (folder, written) in [(None, "target"), (Some("/else/where"), "/else/where")] {
        let plan = plan(folder, "amd64");
        let program = format!("linux/amd64={written}/x86_64-unknown-linux-musl/release/apicred");
        assert!(plan.contains(&program), "{folder:?}: {plan}");
        let hidden = plan.contains("--remap-path-prefix=/else/where=/src/target");
        assert_eq!(hidden, folder.is_some(), "{plan}");
    }
    // A tag is one image: if two images were pushed one after the other, only the second one would be left.
    let both = plan(None, "arm64 amd64");
    let program = |machine: &str| format!("target/{machine}-unknown-linux-musl/release/apicred");
    let (amd64, arm64) = (program("x86_64"), program("aarch64"));
    let assembled = format!(" linux/amd64={amd64} linux/arm64={arm64}\n");
    assert!(both.contains(&assembled), "{both}");
    assert!(
        both.contains("-out target/image/apicred-amd64-arm64.tar -push "),
        "{both}"
    );
    let builds: Vec<&str> = both
        .lines()
        .filter(|l| l.contains(" build --release "))
        .collect();
    assert_eq!(builds.len(), 2, "{both}");
    assert!(
        builds.iter().all(|b| b.ends_with(" --features otel")),
        "{both}"
    );
    // Its page size is set only for this architecture.
    assert_eq!(
        both.matches("JEMALLOC_SYS_WITH_LG_PAGE=16").count(),
        1,
        "{both}"
    );
}

/// The base images of the stages of a Dockerfile, with the defaults of its arguments. `scratch` has no content.
fn bases(dockerfile: &str) -> Vec<String> {
    let rest = |word: &'static str| dockerfile.lines().filter_map(move |l| l.strip_prefix(word));
    let arguments: Vec<(&str, &str)> = rest("ARG ").filter_map(|a| a.split_once('=')).collect();
    let stages: Vec<&str> = rest("FROM ")
        .filter_map(|l| l.split(" AS ").nth(1))
        .collect();
    let images = rest("FROM ").filter_map(|line| {
        let mut words = line.split_whitespace();
        words.find(|word| !word.starts_with("--"))
    });
    images
        .filter(|image| *image != "scratch" && !stages.contains(image))
        .map(|image| {
            let named = |(name, _): &&(&str, &str)| image == format!("${{{name}}}");
            let argument = arguments.iter().find(named);
            argument.map_or(image, |(_, value)| value).to_owned()
        })
        .collect()
}

/// The content of a tag can change.
#[test]
fn the_base_of_the_image_is_named_by_digest() {
    let dockerfile = fs::read_to_string(root().join("Dockerfile")).expect("a file");
    let bases = bases(&dockerfile);
    assert!(!bases.is_empty());
    for base in bases {
        let digest = base.split("@sha256:").nth(1).unwrap_or_default();
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        assert!(digest.len() == 64 && digest.bytes().all(hex), "{base}");
    }
}

/// The compiler of the image is new enough for the workspace.
#[test]
fn the_compiler_of_the_image_builds_this_edition() {
    let version = |text: &str| -> Vec<u32> {
        let numbers = text.split('.').map_while(|n| n.parse().ok());
        numbers.take(2).collect()
    };
    let dockerfile = fs::read_to_string(root().join("Dockerfile")).expect("a file");
    let image = dockerfile.split("library/rust:").nth(1).expect("an image");
    let image = version(image.split('-').next().unwrap_or_default());
    let least = version(env!("CARGO_PKG_RUST_VERSION"));
    assert!(image.len() == 2 && image >= least, "{image:?} {least:?}");
}

#[test]
fn a_dockerfile_is_read() {
    let ignore = "# why\n*\n!Cargo.toml\n!src\n**/target\n";
    assert_eq!(context(ignore), ["Cargo.toml", "src"]);
    let file = "COPY . .\nRUN cargo build --locked -p one --bin two; \\\nCOPY --from=build /a /b\nCOPY LICENSE NOTICE /\n";
    assert_eq!(copied(file), [".", "LICENSE", "NOTICE"]);
    let stages = "ARG A=one@sha256:0\nFROM --platform=$B ${A} AS build\nFROM two:1\nFROM build\nFROM scratch\n";
    assert_eq!(bases(stages), ["one@sha256:0", "two:1"]);
    assert_eq!(
        (built(file, "-p "), built(file, "--bin ")),
        (Some("one"), Some("two"))
    );
}
