//! An environment variable that is empty is as one that is not set: a template that has no value for it writes it so.

use std::{
    collections::BTreeSet,
    process::{Command, Output},
};

/// Variables that `--help` does not show, and those of the libraries that the operator starts with.
const OTHERS: [&str; 5] = [
    "IDENTITY_HEADER",
    "KUBECONFIG",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

fn apicred(args: &[&str], set: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_apicred"));
    command.args(args).env_clear().env("HOME", "/nowhere");
    command.envs(set.iter().copied());
    command.output().expect("it starts")
}

/// The names in `[env: NAME=VALUE]` of the help.
fn documented() -> BTreeSet<String> {
    let help = apicred(&["run", "--help"], &[]);
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    let marked = help.split("[env: ").skip(1);
    let names = marked.filter_map(|rest| rest.split(['=', ']']).next());
    names.map(str::to_owned).collect()
}

/// What it says, without the times.
fn said(ended: &Output) -> BTreeSet<String> {
    let text =
        String::from_utf8_lossy(&[&ended.stdout[..], &ended.stderr[..]].concat()).into_owned();
    let lines = text.lines().map(|line| {
        let parsed: Option<serde_json::Value> = serde_json::from_str(line).ok();
        let message = parsed.and_then(|line| Some(line.get("message")?.as_str()?.to_owned()));
        message.unwrap_or_else(|| line.to_owned())
    });
    lines.collect()
}

#[test]
fn an_empty_environment_variable_is_as_one_that_is_not_set() {
    let documented = documented();
    assert!(documented.len() > 15, "{documented:?}");
    let all = documented.iter().map(String::as_str).chain(OTHERS);
    let all: Vec<(&str, &str)> = all.map(|name| (name, "")).collect();
    let plain = apicred(&["run"], &[]);
    let expected = said(&plain);
    let no_cluster = |line: &String| line.contains("no cluster to work on");
    assert!(expected.iter().any(no_cluster), "{expected:?}");
    for one in all.iter().map(std::slice::from_ref).chain([&all[..]]) {
        let ended = apicred(&["run"], one);
        assert_eq!(said(&ended), expected, "{one:?}");
        assert_eq!(ended.status.code(), plain.status.code(), "{one:?}");
    }
    // A flag that somebody wrote is a mistake.
    let ended = apicred(&["run", "--identity-endpoint", ""], &[]);
    assert!(!said(&ended).iter().any(no_cluster), "{:?}", said(&ended));
}
