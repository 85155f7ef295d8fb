//! The content of a Secret, read by the programs for which it is made: curl, git, Python's netrc and dotenv, a shell,
//! a Kubernetes client. Each gets tokens of every kind: it reads exactly the token, or the format has refused it.

#[path = "formats/sdk.rs"]
mod sdk;

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{Arc, Mutex},
};

use apicred::{
    api::TargetKey,
    oauth::{LifetimeSource, Token},
    publish::data,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::{SignedDuration, Timestamp};
use kube::config::KubeConfigOptions;
use proptest::{
    strategy::{Strategy, ValueTree},
    string::string_regex,
    test_runner::TestRunner,
};
use secrecy::SecretString;
use serde_json::{Value, json};

/// The tokens of RFC 6750. No format may refuse one.
const USUAL: &str = "[A-Za-z0-9._~+/-]{1,80}={0,2}";
/// Any content that an issuer may send. A third of the characters have a meaning in files.
const ANY: &str = "([A-Za-z0-9]|[ -~]|[ \"'\\\\$#`~!%:={}]){1,40}";

/// Tokens that are known to be difficult, and many more of each kind, the same ones in each run.
fn tokens() -> Vec<(String, bool)> {
    let mut runner = TestRunner::deterministic();
    let mut draw = |pattern: &str, usual: bool| {
        let strategy = string_regex(pattern).expect("a pattern");
        let one = |_| strategy.new_tree(&mut runner).expect("a token").current();
        let drawn: Vec<(String, bool)> = (0..60).map(one).map(|t| (t, usual)).collect();
        drawn
    };
    let mut tokens = draw(USUAL, true);
    tokens.extend(draw(ANY, false));
    for usual in ["~root", "a=~root", "~+", "-n", "//", &"x".repeat(3000)] {
        tokens.push((usual.to_owned(), true));
    }
    for odd in [
        "a:~root",
        "odd !#$%&()*,:;<>?@[]^`{|}\"token",
        "#a",
        "$HOME",
        "${HOME}",
        "a # b",
        "a\\nb",
        "a\\\\b",
        " a ",
        "%s",
        "'",
    ] {
        tokens.push((odd.to_owned(), false));
    }
    tokens.push(("x".repeat(9000), false));
    tokens
}

fn token(text: &str) -> Token {
    let issued_at = Timestamp::from_second(1_790_000_000).expect("a time");
    Token {
        secret: SecretString::from(text),
        refresh_token: None,
        instance_url: None,
        answer: std::collections::BTreeMap::new(),
        omitted: std::collections::BTreeMap::new(),
        ends: std::collections::BTreeMap::new(),
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

/// Writes each token as a mounted Secret contains it, and returns those that the format supports, with their files.
fn mounted(folder: &Path, key: &Value) -> Vec<(String, PathBuf)> {
    let key: TargetKey = serde_json::from_value(key.clone()).expect("a key");
    let format = key.format.as_str();
    let mut written = Vec::new();
    for (i, (text, usual)) in tokens().into_iter().enumerate() {
        match data(&token(&text), std::slice::from_ref(&key)) {
            Ok(files) => {
                let path = folder.join(format!("{format}-{i}"));
                let content = files.into_values().next().expect("a file");
                std::fs::write(&path, content.0).expect("a file");
                written.push((text, path));
            }
            Err(problem) => {
                assert!(!usual, "{format} refuses {text}: {problem}");
                assert!(problem.contains(format), "{problem}");
            }
        }
    }
    written
}

/// The status line and further headers for a path and its `Authorization` header.
type Answer = dyn Fn(&str, Option<&str>) -> &'static str + Send;

/// A server that records path and `Authorization` header of each request.
struct Server {
    origin: String,
    heard: Arc<Mutex<Vec<(String, String)>>>,
}

impl Server {
    /// Below `/git` it requires a header.
    fn start() -> Self {
        Self::answering(|path, header| match header {
            None if path.starts_with("/git") => {
                "401 Unauthorized\r\nwww-authenticate: Basic realm=\"git\""
            }
            _ => "404 Not Found",
        })
    }

    fn answering(answer: impl Fn(&str, Option<&str>) -> &'static str + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let origin = format!("http://{}", listener.local_addr().expect("an address"));
        let heard = Arc::<Mutex<Vec<_>>>::default();
        let notes = Arc::clone(&heard);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                serve(stream.expect("a connection"), &notes, &answer);
            }
        });
        Self { origin, heard }
    }

    /// The last header for a path.
    fn heard(&self, path: &str) -> String {
        let heard = self.heard.lock().expect("the notes");
        let last = heard.iter().rfind(|(p, _)| p == path);
        last.map(|(_, header)| header.clone()).unwrap_or_default()
    }
}

fn serve(mut stream: TcpStream, notes: &Mutex<Vec<(String, String)>>, answer: &Answer) {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    while !bytes.windows(4).any(|w| w == b"\r\n\r\n") {
        let read = stream.read(&mut buffer).expect("a request");
        assert!(read > 0, "the request ended early");
        bytes.extend_from_slice(&buffer[..read]);
    }
    let text = String::from_utf8(bytes).expect("text");
    let path = text.split(' ').nth(1).expect("a path").to_owned();
    // Blanks at the ends of a header are not a part of its value (RFC 9110, section 5.5).
    let header = text.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("authorization")
            .then(|| value.trim().to_owned())
    });
    let answer = answer(&path, header.as_deref());
    notes
        .lock()
        .expect("the notes")
        .push((path, header.unwrap_or_default()));
    let answer = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    stream.write_all(answer.as_bytes()).expect("an answer");
}

fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_remove("http_proxy").env("NO_PROXY", "*");
    command
}

fn run(program: &str, args: &[&str]) -> Output {
    let output = command(program).args(args).output();
    let output = output.unwrap_or_else(|e| unreachable!("{program}: {e}"));
    let reported = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {reported}");
    output
}

/// Lets a program read all files at once. It gets their paths after `args` and prints each token with a NUL after it.
fn reads(program: &str, args: &[&str], files: &[(String, PathBuf)]) {
    let paths: Vec<&str> = files
        .iter()
        .map(|(_, p)| p.to_str().expect("text"))
        .collect();
    let output = run(program, &[args, &paths].concat());
    let output = String::from_utf8(output.stdout).expect("text");
    let read: Vec<&str> = output.split_terminator('\0').collect();
    let expected: Vec<&str> = files.iter().map(|(text, _)| text.as_str()).collect();
    assert_eq!(read, expected, "{program}");
}

/// Python that runs `read` with each path and prints the result.
fn python(read: &str) -> String {
    format!("import sys\nfor path in sys.argv[1:]: print({read}, end='\\0')")
}

/// Sends a request for each file, all by one curl, with options that `with` returns for its path.
fn curl(server: &Server, files: &[(String, PathBuf)], with: impl Fn(&str) -> [String; 2]) {
    let mut args = vec!["--disable".to_owned()];
    for (i, (_, path)) in files.iter().enumerate() {
        if i > 0 {
            args.push("--next".to_owned());
        }
        args.extend(["--silent", "--show-error"].map(str::to_owned));
        args.extend(with(path.to_str().expect("text")));
        args.push(format!("{}/{i}", server.origin));
    }
    run("curl", &args.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn curl_sends_the_token_of_its_config_and_of_its_header_file() {
    let folder = tempfile::tempdir().expect("a folder");
    for (format, option, prefix) in [("CurlConfig", "--config", ""), ("Header", "--header", "@")] {
        let files = mounted(folder.path(), &json!({ "format": format }));
        let server = Server::start();
        curl(&server, &files, |path| {
            [option.to_owned(), format!("{prefix}{path}")]
        });
        for (i, (text, _)) in files.iter().enumerate() {
            assert_eq!(
                server.heard(&format!("/{i}")),
                format!("Bearer {text}"),
                "{format}"
            );
        }
    }
}

#[test]
fn curl_git_and_python_read_the_netrc_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = mounted(
        folder.path(),
        &json!({ "format": "Netrc", "host": "127.0.0.1" }),
    );
    let basic = |text: &str| format!("Basic {}", STANDARD.encode(format!("oauth2:{text}")));
    let server = Server::start();
    curl(&server, &files, |path| {
        ["--netrc-file".to_owned(), path.to_owned()]
    });
    for (i, (text, _)) in files.iter().enumerate() {
        assert_eq!(server.heard(&format!("/{i}")), basic(text), "{text}");
    }
    let read = "netrc.netrc(path).authenticators('127.0.0.1')[2]";
    reads(
        "python3",
        &["-c", &format!("import netrc\n{}", python(read))],
        &files,
    );
    for (i, (text, path)) in files.iter().enumerate().step_by(20) {
        std::fs::copy(path, folder.path().join(".netrc")).expect("a file");
        let mut git = command("git");
        git.args(["ls-remote", &format!("{}/git/{i}", server.origin)]);
        git.env("HOME", folder.path())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0");
        let output = git.output().expect("git");
        assert!(!output.status.success(), "there is no such repository");
        let requests = format!("/git/{i}/info/refs?service=git-upload-pack");
        assert_eq!(server.heard(&requests), basic(text), "{text}");
    }
}

#[test]
fn a_shell_reads_the_dotenv_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let files = mounted(folder.path(), &json!({ "format": "DotEnv" }));
    let script = r#"for path; do (. "$path"; printf '%s\0' "$ACCESS_TOKEN"); done"#;
    reads("/bin/sh", &["-c", script, "sh"], &files);
}

#[test]
fn python_dotenv_reads_the_dotenv_file() {
    if !command("python3")
        .args(["-m", "pip", "--version"])
        .output()
        .is_ok_and(|o| o.status.success())
    {
        eprintln!("skipped: there is no python3 with pip to fetch python-dotenv with");
        return;
    }
    // Fetched once; the package index is one of the registries that a build needs anyway.
    let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python-dotenv-1.1.1");
    if !library.join("dotenv").exists() {
        let target = library.to_str().expect("text");
        let quiet = ["--quiet", "--disable-pip-version-check"];
        let args = [
            "-m",
            "pip",
            "install",
            quiet[0],
            quiet[1],
            "--target",
            target,
            "python-dotenv==1.1.1",
        ];
        run("python3", &args);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let files = mounted(folder.path(), &json!({ "format": "DotEnv" }));
    let read = python("dotenv.dotenv_values(path)['ACCESS_TOKEN']");
    let program = format!("import sys\nsys.path.insert(0, {library:?})\nimport dotenv\n{read}");
    reads("python3", &["-c", &program], &files);
}

#[test]
fn python_reads_the_json_formats() {
    let folder = tempfile::tempdir().expect("a folder");
    for (key, place) in [
        (json!({ "format": "Json" }), "['access_token']"),
        (json!({ "format": "ExecCredential" }), "['status']['token']"),
        (
            json!({ "format": "DockerConfig", "host": "r" }),
            "['auths']['r']['password']",
        ),
    ] {
        let files = mounted(folder.path(), &key);
        let program = format!(
            "import json\n{}",
            python(&format!("json.load(open(path)){place}"))
        );
        reads("python3", &["-c", &program], &files);
    }
}

#[tokio::test]
async fn a_kubernetes_client_takes_the_exec_credential() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start();
    let files = mounted(folder.path(), &json!({ "format": "ExecCredential" }));
    for (i, (text, path)) in files.iter().enumerate().step_by(10) {
        let exec = json!({
            "apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never",
            "command": "cat", "args": [path],
        });
        let config = json!({
            "clusters": [{ "name": "c", "cluster": { "server": server.origin } }],
            "users": [{ "name": "u", "user": { "exec": exec } }],
            "contexts": [{ "name": "x", "context": { "cluster": "c", "user": "u" } }],
            "current-context": "x",
        });
        let config = serde_json::from_value(config).expect("a kubeconfig");
        let config =
            kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await;
        let client = kube::Client::try_from(config.expect("a configuration")).expect("a client");
        let request = http::Request::get(format!("/{i}"))
            .body(Vec::new())
            .expect("a request");
        let answer = client.request_text(request).await;
        assert!(answer.is_err(), "there is nothing: {answer:?}");
        assert_eq!(server.heard(&format!("/{i}")), format!("Bearer {text}"));
    }
}
