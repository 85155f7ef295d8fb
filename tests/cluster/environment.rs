//! An empty environment variable counts as not set: a template that has no value for a variable writes it empty.

use std::{
    collections::BTreeSet,
    net::TcpListener,
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

/// The lines of its output, without the times.
fn output_lines(ended: &Output) -> BTreeSet<String> {
    let text =
        String::from_utf8_lossy(&[&ended.stdout[..], &ended.stderr[..]].concat()).into_owned();
    let lines = text.lines().map(|line| {
        let parsed: Option<serde_json::Value> = serde_json::from_str(line).ok();
        let message = parsed.and_then(|line| Some(line.get("message")?.as_str()?.to_owned()));
        message.unwrap_or_else(|| line.to_owned())
    });
    lines.collect()
}

/// Clients that trust the CAs of the system: the one for a collector, and the one for a cluster whose kubeconfig names no CA.
fn an_empty_variable_hides_no_ca() {
    let folder = tempfile::tempdir().expect("a folder");
    let kubeconfig = folder.path().join("config");
    let cluster = r#"{name: c, cluster: {server: "https://127.0.0.1:9"}}"#;
    let text = format!(
        "apiVersion: v1\nkind: Config\nclusters: [{cluster}]\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n\
         users: [{{name: u, user: {{token: t}}}}]\ncurrent-context: c\n"
    );
    std::fs::write(&kubeconfig, text).expect("a kubeconfig");
    let kubeconfig = kubeconfig.display().to_string();
    let collector: &[&str] = &["run", "--otlp-endpoint", "https://127.0.0.1:9"];
    // The address of the admin server is in use, so the program ends.
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let used = taken.local_addr().expect("its address").to_string();
    let operator: &[&str] = &["run", "--admin-listen", &used];
    for (args, set) in [
        (collector, vec![]),
        (operator, vec![("KUBECONFIG", &*kubeconfig)]),
    ] {
        let without = output_lines(&apicred(args, &set));
        let empty = [&set[..], &[("SSL_CERT_FILE", "")]].concat();
        assert_eq!(output_lines(&apicred(args, &empty)), without, "{args:?}");
    }
}

#[test]
fn an_empty_environment_variable_is_as_one_that_is_not_set() {
    let documented = documented();
    assert!(documented.len() > 15, "{documented:?}");
    let all = documented.iter().map(String::as_str).chain(OTHERS);
    let all: Vec<(&str, &str)> = all.map(|name| (name, "")).collect();
    let plain = apicred(&["run"], &[]);
    let expected = output_lines(&plain);
    let no_cluster = |line: &String| line.contains("no cluster to work on");
    assert!(expected.iter().any(no_cluster), "{expected:?}");
    for one in all.iter().map(std::slice::from_ref).chain([&all[..]]) {
        let ended = apicred(&["run"], one);
        assert_eq!(output_lines(&ended), expected, "{one:?}");
        assert_eq!(ended.status.code(), plain.status.code(), "{one:?}");
    }
    an_empty_variable_hides_no_ca();
    // An empty value of a flag is a mistake.
    let ended = apicred(&["run", "--identity-endpoint", ""], &[]);
    assert!(
        !output_lines(&ended).iter().any(no_cluster),
        "{:?}",
        output_lines(&ended)
    );
}

#[test]
fn an_argument_that_cannot_be_read_is_not_repeated_if_it_may_contain_a_password() {
    const SECRET: &str = "not-to-be-shown";
    let url = format!("http://u:{SECRET}@collector.example:port");
    for (args, set) in [
        (&["run", "--otlp-endpoint", &url][..], &[][..]),
        (&["run", "--identity-endpoint", &url], &[]),
        (&["run"], &[("IDENTITY_ENDPOINT", &*url)]),
        (&["check", "--admin", &url], &[]),
    ] {
        let ended = apicred(args, set);
        assert!(!ended.status.success(), "{args:?}");
        let errors = output_lines(&ended)
            .into_iter()
            .collect::<Vec<_>>()
            .join("\n");
        assert!(errors.contains("<URL>"), "{errors}");
        assert!(!errors.contains(SECRET), "{errors}");
    }
}
