//! What stands in a Secret, read by the programs that it is meant for: curl, Python's netrc and dotenv, a shell.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Output},
    thread::JoinHandle,
};

use apicred::{
    api::TargetKey,
    oauth::{LifetimeSource, Token},
    publish::data,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use serde_json::json;

/// Tokens as issuers make them, and one with characters that a careless format spoils.
const TOKENS: [&str; 3] = [
    "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.c2lnbmF0dXJl-_~",
    "ya29.a0AfH6SM+/==",
    "odd !#$%&()*,:;<>?@[]^`{|}\"token",
];

fn token(text: &str) -> Token {
    let issued_at = Timestamp::from_second(1_790_000_000).expect("a time");
    Token {
        secret: SecretString::from(text),
        refresh_token: None,
        instance_url: None,
        claims: None,
        token_type: "Bearer".to_owned(),
        issued_at,
        expires_at: issued_at + SignedDuration::from_hours(1),
        lifetime_source: LifetimeSource::ExpiresIn,
        refresh_in: None,
        scope: None,
        id: None,
        correlation_id: None,
    }
}

/// Writes one key as a mounted Secret has it; none if the format cannot carry the token.
fn mounted(folder: &Path, text: &str, key: serde_json::Value) -> Option<PathBuf> {
    let key: TargetKey = serde_json::from_value(key).expect("a key");
    let files: BTreeMap<_, _> = data(&token(text), &[key]).ok()?;
    let (name, content) = files.into_iter().next()?;
    let path = folder.join(name);
    std::fs::write(&path, content.0).expect("a file");
    Some(path)
}

/// A server that takes one request and gives its `Authorization` header.
fn listener() -> (String, JoinHandle<String>) {
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = server.local_addr().expect("an address");
    let heard = std::thread::spawn(move || {
        let (mut stream, _) = server.accept().expect("a connection");
        let mut text = Vec::new();
        let mut buffer = [0; 4096];
        while !text.windows(4).any(|w| w == b"\r\n\r\n") {
            let read = stream.read(&mut buffer).expect("a request");
            assert!(read > 0, "the request ended early");
            text.extend_from_slice(&buffer[..read]);
        }
        stream
            .write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
            .expect("an answer");
        let text = String::from_utf8(text).expect("text");
        let line = text
            .lines()
            .find(|l| l.to_ascii_lowercase().starts_with("authorization: "));
        line.map(|l| l["authorization: ".len()..].to_owned())
            .unwrap_or_default()
    });
    (format!("http://{address}/"), heard)
}

fn run(program: &str, args: &[&str]) -> Output {
    let output = Command::new(program)
        .args(args)
        .env_remove("http_proxy")
        .env("NO_PROXY", "*")
        .output()
        .unwrap_or_else(|e| unreachable!("{program}: {e}"));
    assert!(
        output.status.success(),
        "{program}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

#[test]
fn curl_sends_what_its_config_and_its_header_file_say() {
    let folder = tempfile::tempdir().expect("a folder");
    for text in TOKENS {
        for (format, option, prefix) in
            [("CurlConfig", "--config", ""), ("Header", "--header", "@")]
        {
            let path = mounted(folder.path(), text, json!({ "format": format })).expect("a file");
            let (url, heard) = listener();
            let argument = format!("{prefix}{}", path.display());
            run(
                "curl",
                &[
                    "--silent",
                    "--show-error",
                    "--disable",
                    option,
                    &argument,
                    &url,
                ],
            );
            assert_eq!(
                heard.join().expect("a request"),
                format!("Bearer {text}"),
                "{format}"
            );
        }
    }
}

#[test]
fn curl_and_python_read_the_netrc_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut read = 0;
    for text in TOKENS {
        let key = json!({ "format": "Netrc", "host": "127.0.0.1" });
        let Some(path) = mounted(folder.path(), text, key) else {
            continue;
        };
        read += 1;
        let path = path.display().to_string();
        let (url, heard) = listener();
        run(
            "curl",
            &[
                "--silent",
                "--show-error",
                "--disable",
                "--netrc-file",
                &path,
                &url,
            ],
        );
        let sent = heard.join().expect("a request");
        let expected = STANDARD.encode(format!("oauth2:{text}"));
        assert_eq!(sent, format!("Basic {expected}"));
        let program = "import netrc, sys; print(netrc.netrc(sys.argv[1]).authenticators('127.0.0.1')[2], end='')";
        assert_eq!(said(&run("python3", &["-c", program, &path])), text);
    }
    assert_eq!(read, 2, "usual tokens fit");
}

#[test]
fn a_shell_reads_the_dotenv_file() {
    let folder = tempfile::tempdir().expect("a folder");
    for text in TOKENS {
        let path = mounted(folder.path(), text, json!({ "format": "DotEnv" })).expect("a file");
        let script = format!(". '{}'; printf %s \"$ACCESS_TOKEN\"", path.display());
        assert_eq!(said(&run("/bin/sh", &["-c", &script])), text);
    }
}

#[test]
fn python_dotenv_reads_the_dotenv_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let library = folder.path().join("library").display().to_string();
    // Installed for this test alone; the package index is one of the registries that a build needs anyway.
    run(
        "python3",
        &[
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--target",
            &library,
            "python-dotenv==1.1.1",
        ],
    );
    for text in TOKENS {
        let path = mounted(folder.path(), text, json!({ "format": "DotEnv" })).expect("a file");
        let program = format!(
            "import sys; sys.path.insert(0, {library:?}); import dotenv; print(dotenv.dotenv_values(sys.argv[1])['ACCESS_TOKEN'], end='')"
        );
        let path = path.display().to_string();
        assert_eq!(said(&run("python3", &["-c", &program, &path])), text);
    }
}

#[test]
fn python_reads_the_json_formats() {
    let folder = tempfile::tempdir().expect("a folder");
    for text in TOKENS {
        for (key, path_in) in [
            (json!({ "format": "Json" }), "['access_token']"),
            (json!({ "format": "ExecCredential" }), "['status']['token']"),
            (
                json!({ "format": "DockerConfig", "host": "r" }),
                "['auths']['r']['password']",
            ),
        ] {
            let path = mounted(folder.path(), text, key).expect("a file");
            let program =
                format!("import json, sys; print(json.load(open(sys.argv[1])){path_in}, end='')");
            let path = path.display().to_string();
            assert_eq!(said(&run("python3", &["-c", &program, &path])), text);
        }
    }
}
