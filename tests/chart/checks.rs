//! Values that Kubernetes accepts and the operator refuses, or that have no effect: the chart refuses them, with the fix. The operator
//! accepts every value that the chart accepts.

mod arguments;
mod rules;

use std::{collections::BTreeSet, process::Command};

use serde_json::{Value, json};

use crate::support::{Objects, file, objects, refused_values, refuses, run};

/// The output of the operator with these variables, if it finds no cluster.
fn operator(args: &[&str], env: &[(&str, &str)]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_apicred"));
    command.args(args).env_clear().env("HOME", "/nowhere");
    let ended = command.envs(env.iter().copied()).output();
    let ended = ended.expect("it starts");
    String::from_utf8_lossy(&[&ended.stdout[..], &ended.stderr[..]].concat()).into_owned()
}

/// It reads all its settings before it connects to a cluster.
fn accepts(output: &str) -> bool {
    output.contains("no cluster to work on")
}

/// The variables of the operator's container that have a value, without those of a pod.
fn environment(objects: &Objects) -> Vec<(&str, &str)> {
    let all = objects.container()["env"].as_array().expect("variables");
    all.iter()
        .filter_map(|e| Some((e["name"].as_str()?, e["value"].as_str()?)))
        .filter(|(name, _)| !["APICRED_INSTANCE_FILE", "APICRED_CA_FILE"].contains(name))
        .collect()
}

#[test]
fn what_the_operator_refuses_is_refused_by_the_chart_with_the_fix() {
    let proxied = |more: &str| json!({ "issuerProxy": { "url": "http://proxy.example:3128", "noProxy": [more] } });
    let (direct, proxy) = ("APICRED_ISSUER_NO_PROXY", "APICRED_ISSUER_PROXY");
    let mut table = vec![
        (
            json!({ "targetMetadata": { "allow": ["kubernetes.io/x"] } }),
            "targetMetadata.allow: \"kubernetes.io/x\"",
            "remove it",
            "APICRED_TARGET_KEYS_ALLOWED",
            "kubernetes.io/x",
        ),
        (
            json!({ "allowCidrs": ["0.0.0.0/0"] }),
            "allowCidrs: 0.0.0.0/0 is wider than /8",
            "allowWideCidrs=true",
            "APICRED_ALLOW_CIDR",
            "0.0.0.0/0",
        ),
        (
            json!({ "allowCidrs": ["::/0"] }),
            "allowCidrs: ::/0 is wider than /16",
            "allowWideCidrs=true",
            "APICRED_ALLOW_CIDR",
            "::/0",
        ),
        (
            json!({ "allowCidrs": ["10.20.0.0"] }),
            "allowCidrs: \"10.20.0.0\"",
            "write it as 10.20.0.0/16",
            "APICRED_ALLOW_CIDR",
            "10.20.0.0",
        ),
        (
            json!({ "log": { "filter": "info,apicred=debg" } }),
            "log.filter: \"apicred=debg\"",
            "write info or info,apicred=debug",
            "APICRED_LOG_FILTER",
            "info,apicred=debg",
        ),
        (
            json!({ "log": { "filter": "info, apicred=debug" } }),
            "log.filter: \" apicred=debug\"",
            "without blanks",
            "APICRED_LOG_FILTER",
            "info, apicred=debug",
        ),
    ];
    let filters = [
        "apicred=debug=info",
        "apicred==info",
        "apicred{a=1}=info",
        "=info",
        "*=info",
        "(apicred)=info",
        "apicred[span=info",
        "apicred[span]x=info",
        "apicred[span{a}=info",
        "apicred[span{}]=info",
        "apicred[span{a=*}]=info",
        "apicred[span]]=info",
    ];
    let filters = filters.map(|filter| (filter, json!({ "log": { "filter": filter } })));
    for (filter, values) in filters {
        table.push((
            values,
            "log.filter: ",
            "write info or info,apicred=debug",
            "APICRED_LOG_FILTER",
            filter,
        ));
    }
    for address in [
        "::",
        "0.0.0",
        "localhost",
        "0.0.0.0:8080",
        "http://0.0.0.0",
        "[0.0.0.0]",
        "[::1",
        "256.0.0.0",
    ] {
        let values = json!({ "listenAddress": address });
        table.push((
            values,
            "listenAddress: ",
            "write 0.0.0.0",
            "APICRED_ADMIN_LISTEN",
            address,
        ));
    }
    for url in [
        "http://proxy.example:99999",
        "http://:3128",
        "http://proxy.example:abc",
        "proxy.example:3128",
        "socks5://proxy.example:1080",
        "http://proxy.example/path",
        "http://10.0.0.300:3128",
        "http://10.0.0.1.5:3128",
        "http://proxy.0x1g.7",
        "http://proxy.1:3128",
        "http://[1:2]:3128",
        "http://[10.0.0.1]:3128",
        "http://[fd00::1:3128",
        "http://a|b.example",
        "http://a\\b.example",
        "http://a^b:3128",
    ] {
        let values = json!({ "issuerProxy": { "url": url } });
        table.push((
            values,
            "issuerProxy.url: ",
            "write it as http://proxy.example:3128",
            proxy,
            url,
        ));
    }
    for entry in [
        "https://idp.example.com",
        "10.0.0.0/33",
        "idp.example.com:99999",
        "idp.example.com:0",
        "a*b.example.com",
        "idp.example.com/token",
        "idp..example.com",
        "300.1.1.1",
        "300.1.1.1:8443",
        "idp.0x1f",
        "[10.0.0.1]",
        "10.0.0.1]",
        ".10.0.0.1",
        "idp|example.com",
    ] {
        table.push((
            proxied(entry),
            "issuerProxy.noProxy: ",
            "write example.com",
            direct,
            entry,
        ));
    }
    run(async {
        for (values, name, fix, variable, value) in table {
            let reported = refused_values(&values).await;
            assert!(
                reported.contains(name) && reported.contains(fix),
                "{values}: {reported}"
            );
            // With the port, as the chart writes it.
            let value = if variable == "APICRED_ADMIN_LISTEN" {
                format!("{value}:8080")
            } else {
                value.to_owned()
            };
            let mut env = vec![(variable, &*value)];
            if variable == direct {
                env.push((proxy, "http://proxy.example:3128"));
            }
            let output = operator(&["run"], &env);
            assert!(!accepts(&output), "{values}: {output}");
        }
    });
}

#[test]
fn what_the_chart_accepts_the_operator_accepts() {
    run(async {
        for values in [
            json!({}),
            json!({ "listenAddress": "[::]" }),
            json!({ "listenAddress": "10.1.2.3", "metrics": { "port": 9090 } }),
            json!({ "listenAddress": "[fd00::1]" }),
            json!({ "allowCidrs": ["10.20.0.0/16", "10.0.0.5/8", "FD00:1234::5:6/100", "::ffff:10.0.0.0/104", "1:2:3:4:5:6:7::/64"] }),
            json!({ "allowCidrs": ["0.0.0.0/0", "::/0"], "allowWideCidrs": true }),
            json!({ "targetMetadata": { "allow": ["team", "example.com/team", "example.com/*", "x-kubernetes.io/a"] } }),
            json!({ "issuerProxy": { "url": "https://proxy.example/", "noProxy": ["*"] } }),
            json!({ "issuerProxy": { "url": "http://proxy.corp.example.:3128" } }),
            json!({ "issuerProxy": { "url": "http://10.1.2.3:3128/" } }),
            json!({ "issuerProxy": { "url": "http://proxy_1" } }),
            json!({ "issuerProxy": { "url": "http://[fd00::1]:3128", "noProxy": [
                "*.example.com", ".svc", "*.svc:8443", "10.1.2.3.", "idp.example.com:8443", "idp.example.com.", "10.1.2.3", "10.1.2.3:8443", "[::1]:3", "[::1]", "fd00::1",
                "10.0.0.0/8", "fd00::/8", "localhost", "under_score.example",
            ] } }),
            json!({ "log": { "format": "text", "filter": "info,apicred=debug,kube=3,off,tower[request]=WARN, info," } }),
            json!({ "log": { "filter": "[span]=debug,[{field}]=info,apicred::http[span{a=1}]=trace,a-b[x{y=a.*}]=off,_x[]=1,é=2" } }),
            json!({ "watchNamespaces": ["team-a"], "clusterIssuers": true, "issuerChecks": false, "entraClouds": ["USGov", "China"] }),
            json!({ "extraArgs": ["--arc-folder", "/arc", "--azure-client-id=a"], "extraEnv": [{ "name": "APICRED_ARC_FOLDER", "value": "/arc" }] }),
        ] {
            let objects = objects(&values).await;
            let args = objects.container()["args"].as_array().expect("arguments");
            let args: Vec<&str> = args.iter().filter_map(Value::as_str).collect();
            let output = operator(&args, &environment(&objects));
            assert!(accepts(&output), "{values}: {output}");
        }
    });
}

/// The text after each `marker`, up to one of these characters.
fn expected<'a>(text: &'a str, marker: &str, end: &[char]) -> BTreeSet<&'a str> {
    let rest = text.split(marker).skip(1);
    rest.filter_map(|rest| rest.split(end).next()).collect()
}

#[test]
fn the_chart_knows_the_variables_and_flags_of_the_operator() {
    let help = operator(&["run", "--help"], &[]);
    let template = file("templates/_checks.tpl");
    let part = |from: &str| {
        let rest = template.split_once(from).expect("the list").1;
        rest.split_once("-}}").expect("its end").0.to_owned()
    };
    let known = part("$known := dict");
    let mut variables = expected(&help, "[env: ", &['=', ']']);
    variables.retain(|name| name.starts_with("APICRED_"));
    assert_eq!(expected(&known, "\n  \"", &['"']), variables);
    let lines = help.lines().map(str::trim_start);
    let lines = lines.map(|line| line.strip_prefix("-h, ").unwrap_or(line));
    let flags = lines.filter_map(|line| line.strip_prefix("--")?.split_whitespace().next());
    // These two are hidden.
    let flags: BTreeSet<&str> = flags.chain(["fast-rotations", "identity-header"]).collect();
    let known = part("$flags := list");
    let known: BTreeSet<&str> = known.split('"').skip(1).step_by(2).collect();
    assert_eq!(known, flags);
}

#[test]
fn what_would_be_without_effect_or_never_start_is_refused() {
    run(async {
        for (values, expected) in [
            (
                json!({ "extraEnv": [{ "name": "APICRED_CONCURENCY", "value": "5" }] }),
                [
                    "extraEnv: the operator has no variable APICRED_CONCURENCY",
                    "APICRED_CONCURRENCY",
                ],
            ),
            (
                json!({ "extraEnv": [{ "name": "APICRED_CONCURRENCY", "value": "5" }] }),
                [
                    "extraEnv: the chart sets APICRED_CONCURRENCY",
                    "use the value concurrency",
                ],
            ),
            (
                json!({ "extraEnv": [{ "name": "POD_NAME", "value": "x" }] }),
                ["extraEnv: the chart sets POD_NAME", "remove it"],
            ),
            (
                json!({ "extraEnv": [{ "name": "APICRED_WATCH_NAMESPACES", "value": "team-a" }] }),
                [
                    "extraEnv: APICRED_WATCH_NAMESPACES belongs to the chart",
                    "use the value watchNamespaces",
                ],
            ),
            (
                json!({ "extraEnv": [{ "name": "A" }, { "name": "A" }] }),
                ["extraEnv: A is set twice", "remove one"],
            ),
            (
                json!({ "extraEnv": [{ "nam": "A" }] }),
                ["/extraEnv/0", "'name'"],
            ),
            (
                json!({ "extraEnv": [{ "name": "A", "value": 5 }] }),
                ["/extraEnv/0/value", "string"],
            ),
            (
                json!({ "extraArgs": ["--concurency=5"] }),
                [
                    "extraArgs: the operator has no flag --concurency",
                    "apicred run --help",
                ],
            ),
            (
                json!({ "extraArgs": ["run"] }),
                ["extraArgs: \"run\"", "--FLAG=VALUE"],
            ),
            (
                json!({ "extraArgs": ["--arc-folder=/arc", "debug"] }),
                ["extraArgs: \"debug\"", "--FLAG=VALUE"],
            ),
            (
                json!({ "log": { "filter": "warning" } }),
                ["log.filter: \"warning\"", "warn,"],
            ),
            (
                json!({ "listenAddress": "127.0.0.1" }),
                ["listenAddress: the kubelet cannot reach", "write 0.0.0.0"],
            ),
            (
                json!({ "listenAddress": "[::1]" }),
                ["listenAddress: the kubelet cannot reach", "write 0.0.0.0"],
            ),
            (
                json!({ "image": { "repository": "https://ghcr.io/apicred/apicred" } }),
                ["image.repository: \"https:", "without https://"],
            ),
            (
                json!({ "image": { "repository": "ghcr.io/apicred/apicred:1.0" } }),
                ["image.repository: ", "image.tag"],
            ),
            (
                json!({ "image": { "repository": "ghcr.io/Apicred/apicred" } }),
                ["image.repository: ", "write it as"],
            ),
            (
                json!({ "image": { "tag": "1.0@sha256:abc" } }),
                ["image.tag: \"1.0@", "image.digest"],
            ),
            (
                json!({ "global": { "imageRegistry": "https://registry.example.com" } }),
                ["global.imageRegistry: ", "without https://"],
            ),
            (
                json!({ "imagePullSecrets": [{ "name": "My_Secret" }] }),
                ["imagePullSecrets: \"My_Secret\"", "small letters"],
            ),
            (
                json!({ "imagePullSecrets": [{ "name": "" }] }),
                ["imagePullSecrets: \"\"", "small letters"],
            ),
            (
                json!({ "issuers": { "contoso..x": { "entra": {} } } }),
                ["issuers: \"contoso..x\"", "small letters"],
            ),
            (
                json!({ "caBundle": { "configMap": "a..b" } }),
                ["/caBundle/configMap", "a..b"],
            ),
            (
                json!({ "caBundle": { "configMap": "a", "key": ".." } }),
                ["/caBundle/key", "'..'"],
            ),
            (
                json!({ "issuerProxy": { "existingSecret": { "name": "a", "key": "a b" } } }),
                ["/issuerProxy/existingSecret/key", "a b"],
            ),
            (json!({ "schedulerName": "A b" }), ["/schedulerName", "A b"]),
            (
                json!({ "podSecurityContext": { "runAsUser": 0 } }),
                ["podSecurityContext", "set another user"],
            ),
            (
                json!({ "podDisruptionBudget": { "maxUnavailable": "0%" } }),
                ["/podDisruptionBudget/maxUnavailable", "0%"],
            ),
            // A rule without ports allows all ports.
            (
                json!({ "networkPolicy": { "egressPorts": [] } }),
                ["/networkPolicy/egressPorts", "want 1"],
            ),
            (
                json!({ "networkPolicy": { "dnsPorts": [] } }),
                ["/networkPolicy/dnsPorts", "want 1"],
            ),
            (
                json!({ "serviceMonitor": { "enabled": true, "scrapeTimeout": "1m" } }),
                ["serviceMonitor.scrapeTimeout: 1m", "make it shorter"],
            ),
            (
                json!({ "podMonitor": { "enabled": true, "interval": "500ms", "scrapeTimeout": "1s" } }),
                ["podMonitor.scrapeTimeout: 1s", "PodMonitor"],
            ),
            (
                json!({ "serviceMonitor": { "interval": "30" } }),
                ["/serviceMonitor/interval", "ms|s|m|h"],
            ),
            (
                json!({ "grafanaDashboard": { "label": "" } }),
                ["/grafanaDashboard/label", "want 1"],
            ),
        ] {
            refuses(&values, &expected).await;
        }
        for values in [
            json!({ "serviceMonitor": { "enabled": true, "interval": "1m", "scrapeTimeout": "60s" } }),
            json!({ "podSecurityContext": { "runAsUser": 0, "runAsNonRoot": false } }),
            json!({ "listenAddress": "127.0.0.1", "livenessProbe": { "periodSeconds": 1 }, "readinessProbe": { "periodSeconds": 1 } }),
            json!({ "image": { "repository": "localhost:5000/a/b_c/d--e", "tag": "v1_2" }, "global": { "imageRegistry": "mirror.example:5000/hub/" } }),
        ] {
            objects(&values).await;
        }
    });
}

#[test]
fn all_problems_are_reported_at_once_and_no_password_is() {
    run(async {
        let values = json!({
            "listenAddress": "localhost",
            "issuerProxy": { "url": "http://ada:hunter2@proxy.example:3128" },
            "log": { "filter": "warning" },
        });
        let reported = refused_values(&values).await;
        for expected_part in [
            "listenAddress: ",
            "issuerProxy.existingSecret.name",
            "log.filter: ",
        ] {
            assert!(
                reported.contains(expected_part),
                "no {expected_part:?} in {reported}"
            );
        }
        assert!(!reported.contains("hunter2"), "{reported}");
    });
}

#[test]
fn a_probe_with_another_handler_has_only_that_one() {
    run(async {
        let socket = json!({ "tcpSocket": { "port": "http" } });
        let probes = json!({ "livenessProbe": socket, "readinessProbe": { "periodSeconds": 9 } });
        let objects = objects(&probes).await;
        let live = &objects.container()["livenessProbe"];
        assert!(live["httpGet"].is_null(), "{live}");
        assert_eq!(live["tcpSocket"]["port"], "http");
        assert_eq!(live["periodSeconds"], 20);
        let ready = &objects.container()["readinessProbe"];
        assert_eq!(ready["httpGet"]["path"], "/readyz");
        assert_eq!(ready["periodSeconds"], 9);
    });
}

#[test]
fn with_recreate_no_rolling_update_is_left() {
    run(async {
        let objects = objects(&json!({ "strategy": { "type": "Recreate" } })).await;
        let strategy = &objects.one("Deployment")["spec"]["strategy"];
        assert_eq!(strategy, &json!({ "type": "Recreate" }));
    });
}
