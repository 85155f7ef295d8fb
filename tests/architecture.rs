//! The rules of DESIGN that neither a reader of one file nor the compiler can check: one file sends, one file
//! reads the clock, no value that contains a secret can be printed. Each rule is a function over text with a test of its
//! own. It is then applied to every file below `src/` and `core/src/`. The dependencies of `core` and `core/clippy.toml` ensure
//! that `core` only decides and has no effects.

#![allow(clippy::too_many_lines, reason = "a table of cases is one function")]

#[path = "architecture/image.rs"]
mod image;
#[path = "architecture/labels.rs"]
mod labels;
#[path = "architecture/modules.rs"]
mod modules;
#[path = "architecture/pages.rs"]
mod pages;
#[path = "architecture/reasons.rs"]
mod reasons;
#[path = "architecture/secrets.rs"]
mod secrets;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Files of 100 to 250 lines read well. A file of the product may not be longer than this.
const MOST_LINES: usize = 400;
/// The same for a file of tests: tables of cases are long.
const MOST_LINES_OF_TESTS: usize = 500;

/// Identifiers of the outside world: clients, runtimes, the environment, files, clocks, randomness.
const WORLD: [&str; 17] = [
    "kube",
    "reqwest",
    "hyper",
    "tower",
    "tokio",
    "futures",
    "kube_runtime",
    "SystemTime",
    "Instant",
    "SystemClock",
    "Clock",
    "env",
    "fs",
    "thread",
    "rand",
    "TcpStream",
    "tracing",
];
/// Files of the operator that only decide, in addition to those of `core`: they take the time and return data.
const DECIDE: [&str; 1] = ["leader/election.rs"];
/// Ways to read the wall clock.
const WALL_CLOCKS: [&str; 4] = ["Timestamp::now", "Zoned::now", "SystemTime", "Utc::now"];

fn is_test(path: &str) -> bool {
    path.contains("tests/") || path.ends_with("tests.rs") || path == "fixtures.rs"
}

/// The code of a file: comments and the texts inside quotes are removed.
fn code(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if rest.starts_with("//") {
            rest = rest.find('\n').map_or("", |end| &rest[end..]);
        } else if c == '"' {
            let mut escaped = false;
            let end = rest[1..].find(|c| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            });
            out.push_str("\"\"");
            rest = end.map_or("", |end| &rest[end + 2..]);
        } else if rest.starts_with("'\"'") || rest.starts_with("'\\\"'") {
            rest = &rest[rest[1..].find('\'').unwrap_or(0) + 2..];
        } else {
            out.push(c);
            rest = &rest[c.len_utf8()..];
        }
    }
    out
}

/// The identifiers of a piece of code.
fn words(code: &str) -> impl Iterator<Item = &str> {
    code.split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|w| !w.is_empty())
}

/// The identifiers of the outside world that the code of a pure folder mentions.
fn world(code: &str) -> BTreeSet<String> {
    let found = words(code).filter(|w| WORLD.contains(w)).map(str::to_owned);
    let clocks = WALL_CLOCKS.iter().filter(|c| code.contains(**c));
    found.chain(clocks.map(|c| (*c).to_owned())).collect()
}

/// All files of Rust below a folder of the repository: path below it, and text.
fn below(folder: &str) -> Vec<(String, String)> {
    fn walk(folder: &Path, into: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder that can be read") {
            let path = entry.expect("a folder that can be read").path();
            if path.is_dir() {
                walk(&path, into);
            } else if path.extension().is_some_and(|e| e == "rs") {
                into.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut paths = Vec::new();
    walk(&root, &mut paths);
    paths.sort();
    let named = paths.into_iter().map(|path| {
        let name = path.strip_prefix(&root).unwrap_or(&path);
        let text = fs::read_to_string(&path).expect("a file that can be read");
        (name.to_string_lossy().into_owned(), text)
    });
    named.collect()
}

/// All files below `src/` and `core/src/`: path below either, and text.
fn files() -> Vec<(String, String)> {
    let product = ["src", "core/src"].map(below);
    assert!(
        product.iter().all(|files| files.len() > 40),
        "the walk finds the product"
    );
    product.concat()
}

/// The files that are part of the product: path and code.
fn product() -> Vec<(String, String)> {
    files()
        .into_iter()
        .filter(|(path, _)| !is_test(path))
        .map(|(path, text)| (path, code(&text)))
        .collect()
}

/// Files of the plugin that write to a terminal without the one function that escapes what is not printable.
fn prints(path: &str, text: &str) -> Vec<String> {
    let plugin =
        path.starts_with("bin/kubectl-apicred/") && path != "bin/kubectl-apicred/terminal.rs";
    let ways = ["print!", "println!", "dbg!", "io::stdout", "io::stderr"];
    let code = if plugin { code(text) } else { String::new() };
    ways.iter()
        .filter(|way| code.contains(**way))
        .map(|way| format!("{path} writes to the terminal by {way}"))
        .collect()
}

#[test]
fn one_file_of_the_plugin_writes_to_the_terminal() {
    assert_eq!(
        prints("bin/kubectl-apicred/x.rs", "eprintln!(\"\")").len(),
        1
    );
    assert_eq!(prints("bin/kubectl-apicred/x.rs", "// println!").len(), 0);
    let faults: Vec<String> = product()
        .iter()
        .flat_map(|(path, text)| prints(path, text))
        .collect();
    assert_eq!(faults, Vec::<String>::new());
}

#[test]
fn what_decides_mentions_nothing_of_the_world() {
    let found: Vec<_> = product()
        .into_iter()
        .filter(|(path, _)| DECIDE.contains(&path.as_str()))
        .map(|(path, code)| (path, world(&code)))
        .collect();
    assert_eq!(found.len(), DECIDE.len(), "each of them exists");
    for (path, found) in found {
        assert!(found.is_empty(), "{path} mentions {found:?}");
    }
}

#[test]
fn one_module_sends_and_one_file_reads_the_clock() {
    for (path, code) in product() {
        if words(&code).any(|w| w == "reqwest") {
            let only_names = path == "issuer/guard.rs"
                && code.match_indices("reqwest::").count()
                    == code.match_indices("reqwest::dns").count();
            // The last one sends to the collector, and sends no data of an issuer or a Secret.
            let sends = [
                "http/mod.rs",
                "http/connect.rs",
                "http/answer.rs",
                "http/tunnel.rs",
                "telemetry/traces.rs",
            ];
            assert!(
                sends.contains(&path.as_str()) || only_names,
                "{path} uses reqwest"
            );
        }
        let reads = WALL_CLOCKS.iter().find(|c| code.contains(**c));
        assert!(
            reads.is_none() || path == "clock.rs",
            "{path} reads the wall clock by {reads:?}"
        );
    }
}

/// Files that parse a credential, each with the reason why it does not use `Context::parse`.
const PARSE: [&str; 3] = [
    // `Context::parse` and `Context::parse_leaving`.
    "controller/context/spec.rs",
    // The client with which it requests tokens is the one that it rotates.
    "controller/clients/rotate.rs",
    // The plugin reads the objects itself.
    "bin/kubectl-apicred/subject.rs",
];

/// Code that parses a credential without its client would find no client.
#[test]
fn credentials_are_parsed_with_their_client() {
    let own = |path: &str| path.starts_with("credential/") || path == "fixtures.rs";
    let found: BTreeSet<String> = product()
        .into_iter()
        .filter(|(path, code)| {
            let without = code.contains("credential::parse(");
            assert!(!without, "{path} parses a credential without its client");
            !own(path) && words(code).any(|w| w == "parse_with_client")
        })
        .map(|(path, _)| path)
        .collect();
    assert_eq!(found, PARSE.map(str::to_owned).into());
}

#[test]
fn only_the_command_line_prints() {
    for (path, code) in product() {
        let prints =
            words(&code).find(|w| ["println", "print", "eprintln", "eprint", "dbg"].contains(w));
        let command = path == "main.rs" || path.starts_with("bin/");
        assert!(
            prints.is_none() || command,
            "{path} uses {prints:?}; log it through tracing"
        );
    }
}

#[test]
fn files_are_short_enough_to_be_read() {
    let all = [
        "src",
        "core/src",
        "tests",
        "benches",
        "dev-issuer",
        "testenv",
        "fuzz/fuzz_targets",
    ];
    for folder in all {
        let files = below(folder);
        assert!(!files.is_empty(), "{folder} has files");
        for (path, text) in files {
            let tests = folder == "tests" || is_test(&path);
            let most = if tests {
                MOST_LINES_OF_TESTS
            } else {
                MOST_LINES
            };
            let (path, lines) = (format!("{folder}/{path}"), text.lines().count());
            assert!(lines <= most, "{path} has {lines} lines; split it");
        }
    }
}

#[test]
fn the_check_finds_side_effects_in_code_and_not_in_comments() {
    let seen = |text: &str| world(&code(text)).into_iter().collect::<Vec<_>>();
    for (text, expected) in [
        ("use reqwest::Client;", "reqwest"),
        ("async fn f() { tokio::spawn(x); }", "tokio"),
        ("let home = std::env::var(\"HOME\");", "env"),
        ("let now = Timestamp::now();", "Timestamp::now"),
        ("let t = std::time::Instant::now();", "Instant"),
        ("use std::time::{Duration, SystemTime};", "SystemTime"),
        ("use kube::{Api, Client};", "kube"),
    ] {
        assert!(
            seen(text).contains(&expected.to_owned()),
            "{text}: {:?}",
            seen(text)
        );
    }
    for text in [
        "// tokio and reqwest are not used here",
        "/// Never calls Timestamp::now.",
        "let text = \"https://reqwest \\\" tokio\"; let q = '\"'; let more = \"env\";",
        "fn tokio_like_name(environment: u8) {}",
        "let key = \"kube::Client\";",
    ] {
        assert_eq!(seen(text), Vec::<String>::new(), "{text}");
    }
    assert!(
        world("let q = \"\"; use tokio;").contains("tokio"),
        "code after a text is code"
    );
}

#[test]
fn the_check_knows_which_files_are_tests() {
    assert!(
        is_test("plan/tests/schedule.rs") && is_test("fixtures.rs") && !is_test("plan/schedule.rs")
    );
}
