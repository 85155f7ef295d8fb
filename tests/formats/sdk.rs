//! The programs of `examples/sdk` read the mounted token for each call, and once more if the API refuses it.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
};

use apicred::publish::data;
use serde_json::json;

use crate::{Server, command, token};

/// The default content of a mounted folder.
fn publish(folder: &Path, text: &str) {
    let keys = [json!({ "format": "Json" }), json!({ "format": "Token" })];
    let keys = keys.map(|key| serde_json::from_value(key).expect("a key"));
    for (name, content) in data(&token(text), &keys).expect("files") {
        std::fs::write(folder.join(name), content.0).expect("a file");
    }
}

fn example(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/sdk");
    folder.join(name)
}

/// Calls three addresses: one that accepts the token, one whose token is renewed after the program has read it, one that never
/// accepts it.
fn calls(language: &str, file: &str, mut program: Command) {
    let folder = tempfile::tempdir().expect("a folder");
    publish(folder.path(), "first");
    let (renewed, path) = (AtomicBool::new(false), folder.path().to_owned());
    let server = Server::answering(move |url, header| {
        if url == "/renewed" && !renewed.swap(true, Ordering::SeqCst) {
            publish(&path, "second");
        }
        let now = if renewed.load(Ordering::SeqCst) {
            "Bearer second"
        } else {
            "Bearer first"
        };
        if url != "/refused" && header == Some(now) {
            "200 OK"
        } else {
            "401 Unauthorized"
        }
    });
    let urls = ["/good", "/renewed", "/good", "/refused"];
    program.args(urls.map(|path| format!("{}{path}", server.origin)));
    let output = program
        .env("TOKEN_FILE", folder.path().join(file))
        .output()
        .unwrap_or_else(|e| unreachable!("{language}: {e}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{language}: {errors}");
    let statuses = String::from_utf8(output.stdout).expect("text");
    let statuses: Vec<&str> = statuses.lines().collect();
    assert_eq!(
        statuses,
        ["200", "200", "200", "401"],
        "{language}: {errors}"
    );
    let heard = server.heard.lock().expect("the notes");
    let heard: Vec<(&str, &str)> = heard.iter().map(|(p, h)| (p.as_str(), &h[7..])).collect();
    let expected = [
        ("/good", "first"),
        ("/renewed", "first"),
        ("/renewed", "second"),
        ("/good", "second"),
        ("/refused", "second"),
        ("/refused", "second"),
    ];
    assert_eq!(heard, expected, "{language}");
}

/// Whether this program is installed. Go and Node are always installed where tests run; the output lists which of the others are not.
fn installed(program: &str, version: &str) -> bool {
    let there = command(program).arg(version).output();
    let there = there.is_ok_and(|output| output.status.success());
    if !there {
        eprintln!("skipped: {program} is not installed");
    }
    there
}

#[test]
fn javascript() {
    let mut node = command("node");
    node.arg(example("javascript/token-file.mjs"));
    calls("javascript", "token.json", node);
}

/// With the credential interface of the real Azure SDK.
#[test]
fn go() {
    let program = tempfile::tempdir().expect("a folder");
    let program = program.path().join("tokenfile");
    let mut build = Command::new("go");
    build.args(["build", "-mod=readonly", "-o"]);
    let built = build.arg(&program).arg(".").current_dir(example("go"));
    let output = built.env("CGO_ENABLED", "0").output().expect("go");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    calls("go", "token.json", command(program.to_str().expect("text")));
}

#[test]
fn python() {
    if installed("python3", "--version") {
        let mut python = command("python3");
        python.arg(example("python/token_file.py"));
        calls("python", "token.json", python);
    }
}

#[test]
fn java() {
    if installed("java", "--version") {
        let mut java = command("java");
        java.arg(example("java/TokenFile.java"));
        calls("java", "token", java);
    }
}

#[test]
fn csharp() {
    if installed("mcs", "--version") && installed("mono", "--version") {
        let folder = tempfile::tempdir().expect("a folder");
        let program = folder.path().join("TokenFile.exe");
        let out = format!("-out:{}", program.display());
        let source = example("csharp/TokenFile.cs");
        let mut build = command("mcs");
        build.args(["-r:System.Net.Http", &out]);
        let output = build.arg(source).output().expect("mcs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        let mut mono = command("mono");
        mono.arg(program);
        calls("csharp", "token", mono);
    }
}
