//! The house rules of DESIGN that neither a reader of one file nor the compiler can see: one file sends, one file
//! reads the clock, nothing that holds a secret can be printed. Each rule is a function over text with a test of its
//! own, and is then held against every file below `src/` and `core/src/`. That `core` decides and does nothing is held by its
//! dependencies and by `core/clippy.toml`.

#![allow(clippy::too_many_lines, reason = "a table of cases is one function")]

#[path = "architecture/image.rs"]
mod image;
#[path = "architecture/labels.rs"]
mod labels;
#[path = "architecture/modules.rs"]
mod modules;

use apicred::{ConditionType, Reason};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Files of 100 to 250 lines read well. A file of the product may not be longer than this.
const MOST_LINES: usize = 400;

/// Words that stand for the world outside: clients, runtimes, the environment, files, clocks, randomness.
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
/// Files of the operator that decide only, beside those of `core`: they take the time and return data.
const DECIDE: [&str; 1] = ["leader/election.rs"];
/// Ways to read the wall clock.
const WALL_CLOCKS: [&str; 4] = ["Timestamp::now", "Zoned::now", "SystemTime", "Utc::now"];
/// Files that open a secret, each for the reason beside it.
const OPENERS: &[&str] = &[
    "oauth/stored_assertion.rs",             // a JWT, for its expiry
    "app.rs",                                // its own token, for the audiences in it
    "credential/static_key.rs",              // to refuse what cannot be published
    "oauth/encode.rs",                       // into the bytes of a request
    "oauth/client_auth.rs",                  // into a Basic header
    "oauth/assertion.rs",                    // a client secret, to sign with
    "oauth/answer_fields.rs",                // to leave the refresh token out
    "oauth/hop.rs",                          // a token, into the bytes of a second request
    "oauth/redaction.rs",                    // to cut it out of an issuer's words
    "oauth/needs.rs",                        // into the fingerprint
    "oauth/keys.rs",                         // a private key, to sign with
    "oauth/grant/jwt_bearer.rs",             // a key file, to sign with
    "http/mod.rs",                           // onto the wire
    "http/connect.rs",                       // a certificate's key, for the handshake
    "proxy/mod.rs",                          // a proxy's URL, to take user and password out of it
    "publish/formats.rs",                    // into the Secret
    "rotation/graph.rs",                     // proofs and tokens, into the bytes of a request
    "rotation/graph/answer.rs",              // its first characters, as Graph shows them
    "rotation/registration.rs", // a registration access token, into the bytes of a request
    "controller/token/source_secret.rs", // out of a Secret
    "controller/token/material.rs", // a certificate and its key, out of a Secret
    "controller/token/identity.rs", // out of the machine's key file
    "controller/token/refresh.rs", // into the digest of a refresh token
    "controller/clients/execute.rs", // a new value, into the source Secret
    "controller/clients/keypair.rs", // a new key, in its test
    "controller/clients/registration.rs", // a registration access token, into the source Secret
    "controller/clients/seen.rs", // a value, into its digest
    "controller/token/state_secret.rs", // into the state Secret
    "controller/token/digest_key.rs", // into the token's digest
    "bin/kubectl-apicred/jwks.rs", // the private key whose public key is printed
    "bin/kubectl-apicred/authentication.rs", // a certificate out of a Secret
    "bin/kubectl-apicred/state.rs", // the refresh token into the state Secret
];

fn is_test(path: &str) -> bool {
    path.contains("tests/") || path.ends_with("tests.rs") || path == "fixtures.rs"
}

/// The code of a file: comments and the texts inside quotes are left out.
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

/// What of the outside world the code of a pure room mentions.
fn world(code: &str) -> BTreeSet<String> {
    let found = words(code).filter(|w| WORLD.contains(w)).map(str::to_owned);
    let clocks = WALL_CLOCKS.iter().filter(|c| code.contains(**c));
    found.chain(clocks.map(|c| (*c).to_owned())).collect()
}

/// A type and what stands in its body and derives.
struct Type {
    name: String,
    derives: String,
    body: String,
}

/// The structs and enums of a piece of code.
fn types(code: &str) -> Vec<Type> {
    let mut found = Vec::new();
    let mut derives = String::new();
    let mut lines = code.lines().peekable();
    while let Some(line) = lines.next() {
        let trimmed = line.trim();
        if trimmed.starts_with("#[") {
            derives.push_str(trimmed);
            continue;
        }
        // Attributes may go over several lines.
        if derives.matches('[').count() > derives.matches(']').count() {
            derives.push_str(trimmed);
            continue;
        }
        let parts: Vec<&str> = words(trimmed)
            .filter(|w| !["pub", "super", "crate", "in", "controller"].contains(w))
            .collect();
        if let ["struct" | "enum", name, ..] = parts[..] {
            let mut body = trimmed.to_owned();
            while body.matches('{').count() != body.matches('}').count()
                || !body.contains(['{', ';'])
            {
                let Some(next) = lines.next() else { break };
                body.push('\n');
                body.push_str(next);
            }
            found.push(Type {
                name: name.to_owned(),
                derives: derives.clone(),
                body,
            });
        }
        if !trimmed.is_empty() {
            derives.clear();
        }
    }
    found
}

/// Does a type's body use another type as the type of a field (and not merely as the name of a variant)?
fn holds(body: &str, name: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    body.match_indices(name).any(|(at, _)| {
        let (before, after) = (&body[..at], &body[at + name.len()..]);
        // A comma at the end of a line ends a variant or a field; within a line it parts the types of a tuple.
        let as_type = before.trim_end().ends_with([':', '<', '(', '&']) || before.ends_with(", ");
        as_type && !before.ends_with(word) && !after.starts_with(word)
    })
}

/// The names of types that hold a secret, directly or through another.
fn secret_types(all: &[Type]) -> BTreeSet<String> {
    // RawAnswer holds a token as bytes, DigestKey the operator's key.
    let mut secret: BTreeSet<String> = ["SecretString", "SecretBox", "RawAnswer", "DigestKey"]
        .map(str::to_owned)
        .into();
    loop {
        let more: Vec<String> = all
            .iter()
            .filter(|t| !secret.contains(&t.name) && secret.iter().any(|s| holds(&t.body, s)))
            .map(|t| t.name.clone())
            .collect();
        if more.is_empty() {
            return secret;
        }
        secret.extend(more);
    }
}

/// Those of them that can be printed or serialized.
fn leaky(sources: &[String]) -> Vec<String> {
    let all: Vec<Type> = sources.iter().flat_map(|code| types(code)).collect();
    let secret = secret_types(&all);
    let printed = |t: &&Type| {
        let derived = words(&t.derives).any(|w| ["Debug", "Serialize", "Display"].contains(&w));
        let by_hand = ["Debug", "Display", "Serialize"].iter().any(|what| {
            sources
                .iter()
                .any(|code| code.contains(&format!("{what} for {} ", t.name)))
        });
        secret.contains(&t.name) && (derived || by_hand)
    };
    all.iter().filter(printed).map(|t| t.name.clone()).collect()
}

/// All files below `src/` and `core/src/`: path below either, and text.
fn files() -> Vec<(String, String)> {
    fn walk(folder: &Path, into: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("src can be read") {
            let path = entry.expect("src can be read").path();
            if path.is_dir() {
                walk(&path, into);
            } else if path.extension().is_some_and(|e| e == "rs") {
                into.push(path);
            }
        }
    }
    let mut all = Vec::new();
    for folder in ["src", "core/src"] {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let mut paths = Vec::new();
        walk(&root, &mut paths);
        paths.sort();
        assert!(paths.len() > 40, "the walk finds the product");
        for path in paths {
            let name = path.strip_prefix(&root).unwrap_or(&path);
            let text = fs::read_to_string(&path).expect("src can be read");
            all.push((name.to_string_lossy().into_owned(), text));
        }
    }
    all
}

/// The files that are part of the product: path and code.
fn product() -> Vec<(String, String)> {
    files()
        .into_iter()
        .filter(|(path, _)| !is_test(path))
        .map(|(path, text)| (path, code(&text)))
        .collect()
}

/// Files of the plugin that write to a terminal past the one function that escapes what is not printable.
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
            // The last one sends to the collector, and nothing that comes from an issuer or a Secret.
            let sends = [
                "http/mod.rs",
                "http/connect.rs",
                "http/answer.rs",
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

/// Who parses a credential, and why not by `Context::parse`.
const PARSE: [&str; 3] = [
    // `Context::parse` and `Context::parse_leaving`.
    "controller/context/spec.rs",
    // The client by which it requests tokens is the one that it rotates.
    "controller/clients/rotate.rs",
    // The plugin reads the objects itself.
    "bin/kubectl-apicred/subject.rs",
];

/// Whoever parses a credential without the client that it names finds none.
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
fn nothing_that_holds_a_secret_can_be_printed_or_serialized() {
    let sources: Vec<String> = product().into_iter().map(|(_, code)| code).collect();
    assert_eq!(leaky(&sources), Vec::<String>::new());
    let all: Vec<Type> = sources.iter().flat_map(|code| types(code)).collect();
    let secret = secret_types(&all);
    for known in ["Token", "TokenRequest", "Material", "Held", "Acquired"] {
        assert!(secret.contains(known), "{known} is checked: {secret:?}");
    }
}

#[test]
fn secrets_are_opened_in_the_named_files_only() {
    let openers: Vec<String> = product()
        .into_iter()
        .filter(|(_, code)| code.contains("expose_secret("))
        .map(|(path, _)| path)
        .collect();
    for path in &openers {
        assert!(
            OPENERS.contains(&path.as_str()),
            "{path} opens a secret; if it must, say why in this test's list"
        );
    }
    assert_eq!(
        openers.len(),
        OPENERS.len(),
        "the list names what is there: {openers:?}"
    );
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
    for (path, text) in files().iter().filter(|(path, _)| !is_test(path)) {
        let lines = text.lines().count();
        assert!(lines <= MOST_LINES, "{path} has {lines} lines; split it");
    }
}

#[test]
fn the_check_sees_the_world_in_code_and_not_in_words_about_it() {
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
fn the_check_finds_secrets_in_types_at_any_depth() {
    let of = |text: &str| leaky(&[code(text)]);
    for (text, expected) in [
        (
            "#[derive(Clone, Debug)]\npub struct Token {\n    pub secret: SecretString,\n}",
            vec!["Token"],
        ),
        (
            "#[derive(Serialize)]\nstruct Token(SecretString);",
            vec!["Token"],
        ),
        (
            "#[derive(Debug)]\nenum Material { Secret(SecretString) }",
            vec!["Material"],
        ),
        (
            "struct A { a: SecretString }\n\n#[derive(\n    Debug,\n)]\nstruct B { a: Option<A> }",
            vec!["B"],
        ),
        (
            "struct A { a: SecretString }\nimpl fmt::Debug for A {\n}",
            vec!["A"],
        ),
        (
            "#[derive(Debug)]\nstruct H { headers: Vec<(u8, SecretString)> }",
            vec!["H"],
        ),
        ("#[derive(Debug)]\nstruct R { raw: RawAnswer }", vec!["R"]),
    ] {
        assert_eq!(of(text), expected, "{text}");
    }
    for text in [
        "#[derive(Clone)]\nstruct Token { secret: SecretString }",
        "#[derive(Debug)]\nstruct Other { a: u8 }\n\nstruct Token { secret: SecretString }",
        // The name of a variant is not the type of a field.
        "struct Token { a: SecretString }\n#[derive(Debug)]\nenum Kind {\n    Opaque,\n    Token,\n}",
        "struct Token { a: SecretString }\n#[derive(Debug)]\nstruct B { t: TokenEndpoint }",
        "struct Token { a: SecretString }\nimpl Debug for Tokens {\n}",
    ] {
        assert_eq!(of(text), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn the_check_knows_which_files_are_tests() {
    assert!(
        is_test("plan/tests/schedule.rs") && is_test("fixtures.rs") && !is_test("plan/schedule.rs")
    );
}

/// Reasons of a sign-in are shown in its terminal, in a sentence.
const OFF_THE_TABLE: [Reason; 7] = [
    Reason::CodeRefused,
    Reason::IssuerMismatch,
    Reason::NoRefreshToken,
    Reason::SignInDeclined,
    Reason::SignInExpired,
    Reason::SignInNotAllowed,
    Reason::SignInNotPossible,
];

/// The reasons in the table of the page, in its first column.
fn explained() -> Vec<String> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let page = fs::read_to_string(docs.join("troubleshooting.md")).expect("the page");
    let rows = page.split("## Reasons").nth(1).expect("reasons");
    let rows = rows.split("\n## ").next().expect("a table");
    let cells = rows
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('|').next());
    // Between backticks; what stands beside them is no name.
    cells
        .flat_map(|cell| cell.split('`').step_by(2).map(str::to_owned))
        .collect()
}

#[test]
fn the_page_has_a_row_for_each_reason_of_the_code_and_for_no_other() {
    let explained: BTreeSet<String> = explained().into_iter().collect();
    let exist: BTreeSet<String> = Reason::ALL
        .iter()
        .filter(|reason| !OFF_THE_TABLE.contains(reason) && !reason.is_success())
        .map(ToString::to_string)
        .collect();
    let missing: Vec<_> = exist.difference(&explained).collect();
    assert!(missing.is_empty(), "the page does not explain {missing:?}");
    let gone: Vec<_> = explained.difference(&exist).collect();
    assert!(gone.is_empty(), "no code reports {gone:?}");
    assert!(exist.len() > 120, "{}", exist.len());
    // A success needs no row: the section about events explains it.
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let page = fs::read_to_string(docs.join("troubleshooting.md")).expect("the page");
    let named = |r: &&Reason| !page.contains(&format!("`{r}`"));
    let unnamed: Vec<_> = Reason::ALL
        .iter()
        .filter(|r| r.is_success())
        .filter(named)
        .collect();
    assert!(unnamed.is_empty(), "the page does not name {unnamed:?}");
    let code: String = files()
        .into_iter()
        .filter(|(path, _)| !is_test(path) && path != "reason.rs")
        .map(|(_, text)| text)
        .collect();
    let unused: Vec<_> = Reason::ALL
        .iter()
        .filter(|r| !code.contains(&format!("Reason::{r}")))
        .collect();
    assert!(unused.is_empty(), "no code reports {unused:?}");
}

/// Files that have the text of a reason or of a condition's type: each for what is beside it.
const TEXTS: [&str; 5] = [
    "reason.rs",
    "condition_type.rs",
    "api/",                       // printer columns
    "controller/cache/packed.rs", // a sample that objects are compressed with
    "scripted.rs",                // an API server for tests
];

/// A reason and a condition's type are values; a text is what they are shown as, and nothing else has it. What the API
/// server has in a condition becomes a value by `Reason::parse` and `ConditionType::is` before it is compared.
#[test]
fn no_reason_is_compared_as_text() {
    let texts: BTreeSet<&str> = Reason::ALL.iter().map(|r| r.as_str()).collect();
    let types: BTreeSet<&str> = ConditionType::ALL.iter().map(|t| t.as_str()).collect();
    let as_text = |line: &str| {
        let written = line
            .split('"')
            .any(|part| texts.contains(part) || types.contains(part));
        let shown = line
            .match_indices("Reason::")
            .chain(line.match_indices("ConditionType::"));
        let mut shown = shown.map(|(at, _)| line[at..].split(".as_str()"));
        let shown = shown.any(|mut parts| {
            let name = parts.next().unwrap_or_default();
            parts.next().is_some() && name.chars().all(|c| c.is_alphanumeric() || c == ':')
        });
        let compares = ["==", "!=", "matches!(", ".is(", ".contains("];
        written || shown && compares.iter().any(|how| line.contains(how))
    };
    for refused in [
        "if refusal.reason == \"ClientRefused\" {",
        "const WAITS: [&str; 1] = [\"Pending\"];",
        "\"Stalled\" => true,",
        "if last.reason.as_deref() == Some(Reason::KubernetesUnavailable.as_str()) {",
        "line.condition == ConditionType::Ready.as_str()",
    ] {
        assert!(as_text(refused), "{refused}");
    }
    for allowed in [
        "(Class::Denied, Reason::ClientRefused, \"x\")",
        "reason: Reason::ClientRefused.as_str().to_owned(),",
        "\"not Ready yet\"",
    ] {
        assert!(!as_text(allowed), "{allowed}");
    }
    let found: Vec<String> = files()
        .into_iter()
        .filter(|(path, _)| !is_test(path) && !TEXTS.iter().any(|t| path.starts_with(t)))
        .flat_map(|(path, text)| {
            let text = text.split("mod tests {").next().unwrap_or_default();
            let code = text.lines().filter(|l| !l.trim_start().starts_with("//"));
            let found = code.filter(|line| as_text(line));
            let found: Vec<String> = found.map(|l| format!("{path}: {}", l.trim())).collect();
            found
        })
        .collect();
    assert!(found.is_empty(), "{found:#?}");
}

/// Words in camel case, with two capital letters at least, that stand alone between quotes.
fn quoted_words(text: &str) -> BTreeSet<String> {
    let word = |w: &str| {
        w.starts_with(char::is_uppercase)
            && w.chars().all(char::is_alphanumeric)
            && w.chars().filter(|c| c.is_uppercase()).count() > 1
            && w.chars().any(char::is_lowercase)
    };
    // Whichever of the parts are the quoted ones: between two texts stands no such word alone.
    let parts = text.split('"').map(str::to_owned);
    parts.filter(|part| word(part)).collect()
}

/// Words in camel case that the code writes and that are neither a reason nor a type of condition.
const NO_REASONS: &[&str] = &[
    // Kinds, and formats of the target's keys.
    "ApiCredential",
    "ClusterTokenIssuer",
    "TokenIssuer",
    "ServiceAccount",
    "ExecCredential",
    "TokenType",
    "ExpiresAt",
    // Operators of label selectors.
    "DoesNotExist",
    "NotIn",
    // Where a lifetime was read, and which rule chose the time of a renewal.
    "ExpiresIn",
    "ExpiresOn",
    "HalfLife",
    "MinLifetime",
    "MountDelay",
    "RefreshIn",
    "TooShort",
    "OtherUnit",
    "TooLong",
    // First words of permissions, and the API that tells of itself.
    "AdvancedHunting",
    "AdvancedQuery",
    "IntegrationConfiguration",
    "MmdSupport",
    "MWaaSDevice",
    "RemediationTasks",
    "SecurityBaselinesAssessment",
    "SecurityConfiguration",
    "SecurityRecommendation",
    "WindowsDefenderATP",
    "DefenderForCloudApps",
    "DefenderForEndpoint",
    "ManagedDesktop",
    // Of the API server, and of a sample that objects are compressed with.
    "NamespaceTerminating",
    "RequestFailed",
    "MicrosoftGraph",
    // The name of a field manager: Terraform.
    "HashiCorp",
];

/// The code that decides what is reported, without its tests and comments.
fn reporting_code() -> Vec<(String, String)> {
    let rooms = [
        "controller/",
        "credential/",
        "http/",
        "issuer/",
        "oauth/",
        "plan/",
        "publish/",
    ];
    let comment = |line: &&str| !line.trim_start().starts_with("//");
    files()
        .into_iter()
        .filter(|(path, _)| rooms.iter().any(|room| path.starts_with(room)))
        .filter(|(path, _)| !is_test(path) && !path.starts_with("oauth/sign_in/"))
        .map(|(path, text)| {
            let text = text.split("mod tests {").next().unwrap_or_default();
            let lines: Vec<&str> = text.lines().filter(comment).collect();
            (path, lines.join("\n"))
        })
        .collect()
}

#[test]
fn the_page_explains_each_word_in_camel_case_and_each_reason_has_a_step() {
    let sample = "x(\"SecretExpiring\", \"text\", \"A\", \"With blank Here\", \"Word\")";
    assert_eq!(quoted_words(sample), ["SecretExpiring".to_owned()].into());
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let page = fs::read_to_string(docs.join("troubleshooting.md")).expect("the page");
    let written: BTreeSet<String> = reporting_code()
        .iter()
        .flat_map(|(_, text)| quoted_words(text))
        .collect();
    let missing: Vec<_> = written
        .iter()
        .filter(|word| !NO_REASONS.contains(&word.as_str()))
        .filter(|word| !page.contains(&format!("`{word}`")))
        .collect();
    assert!(missing.is_empty(), "the page does not explain {missing:?}");
    let gone: Vec<_> = NO_REASONS
        .iter()
        .filter(|w| !written.contains(**w))
        .collect();
    assert!(gone.is_empty(), "{gone:?} is no longer written");
    let rows = page.split("## Reasons").nth(1).expect("reasons");
    let rows = rows.split("\n## ").next().expect("a table");
    let rows = rows.lines().filter_map(|line| line.strip_prefix("| `"));
    for (reasons, step) in rows.filter_map(|row| row.split_once('|')) {
        assert!(step.trim().len() > 10, "{reasons} has no next step");
    }
}

/// The code with the text of each reason in its place.
fn with_texts(code: &str) -> String {
    let mut parts = code.split("Reason::");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part
            .find(|c: char| !c.is_alphanumeric())
            .unwrap_or(part.len());
        out.push_str(&format!("\"{}\"{}", &part[..end], &part[end..]));
    }
    out
}

/// A reason or the path of a field, and the sentence behind it, of a refusal in a piece of code.
fn sentences(code: &str) -> Vec<(String, String)> {
    let reason = |text: &str| !quoted_words(&format!("\"{text}\"")).is_empty();
    let field = |text: &str| text.starts_with("spec.");
    let text_at = |at: usize| -> Option<(&str, usize)> {
        let rest = &code[at..];
        let mut escaped = false;
        let end = rest.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        })?;
        Some((&rest[..end], at + end + 1))
    };
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(start) = code[at..].find('"') {
        let Some((text, end)) = text_at(at + start + 1) else {
            break;
        };
        at = end;
        let between = code[end..]
            .trim_start()
            .strip_prefix(',')
            .map(str::trim_start);
        let between = between.map(|b| {
            let b = b.strip_prefix("format!(").unwrap_or(b);
            b.strip_prefix("or(").unwrap_or(b).trim_start()
        });
        if let Some(rest) = between.and_then(|b| b.strip_prefix('"'))
            && (reason(text) || field(text))
            && let Some((sentence, _)) = text_at(code.len() - rest.len())
            && sentence.contains(' ')
        {
            found.push((text.to_owned(), sentence.to_owned()));
        }
    }
    found
}

#[test]
fn each_message_has_a_next_step_and_is_short() {
    let sample = "local(A, \"TargetInvalid\", format!(\n \"it \\\"is\\\" {x}; fix it\")), new(\"spec.api\", \"set it\"), f(\"a\", \"b c\")";
    let found = sentences(sample);
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[0].1, "it \\\"is\\\" {x}; fix it");
    // What a reader, or an administrator, is to do, in the words that the messages have for it.
    let steps = [
        "apicred",
        "add",
        "ask",
        "check",
        "choose",
        "configure",
        "correct",
        "create",
        "delete",
        "exclude",
        "fix",
        "give",
        "did",
        "have",
        "look",
        "make",
        "must",
        "name",
        "put",
        "raise",
        "refer",
        "renew",
        "run",
        "remove",
        "report",
        "select",
        "set",
        "sign",
        "store",
        "use",
        "write",
    ];
    let mut count = 0;
    for (path, code) in reporting_code() {
        // The tables of issuers' errors are sentences of their own, with a link behind them.
        if path.starts_with("oauth/") {
            continue;
        }
        for (reason, sentence) in sentences(&with_texts(&code)) {
            // A part of a sentence is put together with its step elsewhere.
            if ["{problem}", "{what}", "permissions"]
                .iter()
                .any(|part| sentence.ends_with(part))
            {
                continue;
            }
            count += 1;
            let mut words = sentence.split(|c: char| !c.is_alphanumeric());
            assert!(
                words.any(|word| steps.contains(&word.strip_suffix("s").unwrap_or(word))),
                "{path}: {reason} does not say what to do: {sentence}"
            );
            assert!(
                sentence.chars().count() < 500,
                "{path}: {reason}: {sentence}"
            );
            assert!(
                !sentence.contains("\\n") && sentence.is_ascii(),
                "{path}: {sentence}"
            );
        }
    }
    assert!(count > 60, "{count}");
}

/// The names in backticks in the column of a page's tables that is headed `Tests`.
fn named_tests(page: &str) -> Vec<String> {
    let cells = |line: &str| -> Vec<String> {
        let inner = line.trim().trim_matches('|');
        inner.split('|').map(|c| c.trim().to_owned()).collect()
    };
    let (mut column, mut names) = (None, Vec::new());
    for line in page.lines() {
        if !line.starts_with('|') {
            column = None;
        } else if let Some(at) = column {
            let cell = cells(line).get::<usize>(at).cloned().unwrap_or_default();
            names.extend(cell.split('`').skip(1).step_by(2).map(str::to_owned));
        } else {
            column = cells(line).iter().position(|c| c == "Tests");
        }
    }
    names
}

/// The text of every Rust file below a folder.
fn sources(folder: &str) -> String {
    fn walk(folder: &Path, into: &mut String) {
        for entry in fs::read_dir(folder).expect("a folder of sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(&path, into);
            } else if path.extension().is_some_and(|e| e == "rs") {
                into.push_str(&fs::read_to_string(path).expect("a source"));
            }
        }
    }
    let mut text = String::new();
    walk(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join(folder),
        &mut text,
    );
    text
}

/// The names of the tests in a text. Neither a helper nor a test that is ignored counts.
fn tests_in(code: &str) -> BTreeSet<String> {
    let (mut is_test, mut ignored, mut found) = (false, false, BTreeSet::new());
    for line in code.lines().map(str::trim) {
        if line == "#[test]" || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if line.starts_with("#[ignore") {
            ignored = true;
        } else if let Some(rest) = line
            .strip_prefix("async fn ")
            .or_else(|| line.strip_prefix("fn "))
        {
            if is_test && !ignored {
                found.extend(rest.split('(').next().map(str::to_owned));
            }
            (is_test, ignored) = (false, false);
        }
    }
    found
}

/// Other pages and issues name a threat by its number.
#[test]
fn each_threat_has_one_number() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/threat-model.md");
    let page = fs::read_to_string(page).expect("the page");
    let numbers: Vec<usize> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| T")?.split_once(" |")?.0.parse().ok())
        .collect();
    let expected: Vec<usize> = (1..=numbers.len()).collect();
    assert!(numbers.len() > 20 && numbers == expected, "{numbers:?}");
}

#[test]
fn each_test_that_a_page_names_exists() {
    let sample = "#[test]\nfn a() {\n    fn b() {}\n}\nfn c() {}\n#[test]\n#[ignore = \"x\"]\nfn d() {}\n\
                  #[tokio::test(start_paused = true)]\nasync fn e() {}\n";
    assert_eq!(tests_in(sample), ["a", "e"].map(str::to_owned).into());
    let sample =
        "| # | Tests |\n|---|---|\n| `no` | `a_b` and `c` |\n\n| `x` | `y` |\n| `d` | `e` |";
    assert_eq!(named_tests(sample), ["a_b", "c"]);
    let tests = tests_in(&(sources("core/src") + &sources("src") + &sources("tests")));
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let mut seen = 0;
    for entry in fs::read_dir(docs).expect("the pages") {
        let path = entry.expect("a page").path();
        let page = fs::read_to_string(&path).unwrap_or_default();
        for name in named_tests(&page) {
            seen += 1;
            assert!(
                tests.contains(&name),
                "{} names a test that is not there: {name}",
                path.display()
            );
        }
    }
    assert!(seen > 40, "only {seen} names were checked");
}
