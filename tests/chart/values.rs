//! Values that are missing, null or refused.

use serde_json::{Value, json};

use crate::support::{
    CHART, Objects, file, objects, refused, refused_values, run, template_of, text,
};

/// Number of renders in parallel.
const AT_ONCE: usize = 4;

/// The names of values.yaml: all of the first level, and those below a block of fixed names.
fn paths() -> Vec<String> {
    let values: Value = serde_saphyr::from_str(&file("values.yaml")).expect("YAML");
    // For these, null intentionally removes a key.
    let open = [
        "resources",
        "strategy",
        "podSecurityContext",
        "securityContext",
    ];
    let mut paths = Vec::new();
    for (key, value) in values.as_object().expect("a map") {
        paths.push(key.clone());
        let below = value.as_object().filter(|_| !open.contains(&key.as_str()));
        for child in below.into_iter().flat_map(|map| map.keys()) {
            paths.push(format!("{key}.{child}"));
        }
    }
    paths
}

#[test]
fn a_value_that_is_null_has_its_default() {
    run(async {
        let quick = ["--set", "crds.install=false"];
        let (all, without) = (text(&[]).await, text(&quick).await);
        let paths = paths();
        assert!(paths.len() > 100, "{}", paths.len());
        for some in paths.chunks(AT_ONCE) {
            let one = async |path: &String| {
                let null = format!("{path}=null");
                let crds = path.starts_with("crds");
                let expected = if crds { &all } else { &without };
                let args = ["--set", &null, quick[0], quick[1]];
                let found = text(&args[..if crds { 2 } else { 4 }]).await;
                assert!(found == *expected, "{path}: another text");
            };
            futures::future::join_all(some.iter().map(one)).await;
        }
    });
}

/// As helm does it with values that have a default.
#[test]
fn a_later_file_removes_with_null_what_an_earlier_one_sets() {
    run(async {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, values: &Value| {
            let path = folder.path().join(name);
            std::fs::write(&path, values.to_string()).expect("a file");
            path.display().to_string()
        };
        let labels = |value: &Value| json!({ "apicred-test": value, "stays": "a" });
        let all = |one: &Value, labels: &Value, over: &Value| {
            json!({
                "crds": { "install": false },
                "clusterIssuers": true,
                "issuers": { "removed": one, "stays": { "oidc": { "issuerUrl": "https://login.example" } } },
                "commonLabels": labels, "podLabels": labels, "podAnnotations": labels,
                "deploymentAnnotations": labels, "nodeSelector": labels,
                "serviceAccount": { "labels": labels, "annotations": labels },
                "serviceMonitor": { "enabled": true, "labels": labels, "annotations": labels },
                "resources": { "limits": { "example.com/apicred-test": over } },
                "prometheusRule": { "enabled": true, "labels": labels, "overrides": { "ApicredStuck": over_rule(over) } },
            })
        };
        let issuer = json!({ "entra": { "tenantId": "gone.example" } });
        let first = all(&issuer, &labels(&json!("removed")), &json!("3"));
        let then = all(&Value::Null, &labels(&Value::Null), &Value::Null);
        let (first, then) = (write("first.json", &first), write("then.json", &then));
        let before = text(&["--values", &first]).await;
        for there in ["apicred-test", "gone.example", "for: 3m"] {
            assert!(before.contains(there), "{there}");
        }
        let after = text(&["--values", &first, "--values", &then]).await;
        for gone in ["apicred-test", "gone.example", "for: 3m", "null"] {
            assert!(!after.contains(gone), "{gone}: {after}");
        }
        for stays in ["stays: a", "https://login.example", "alert: ApicredStuck"] {
            assert!(after.contains(stays), "{stays}");
        }
    });
}

/// Blocks whose default is empty: an issuer, an override, a probe and parts of a pod spec.
#[test]
fn null_removes_a_key_inside_an_issuer_or_an_override() {
    run(async {
        let values = json!({
            "issuers": {
                "contoso": { "entra": { "tenantId": "contoso.example", "cloud": null }, "allowedScopes": null },
                "other": { "oidc": { "issuerUrl": "https://login.example" }, "network": { "allowedCidrs": null } },
            },
            "prometheusRule": { "enabled": true, "overrides": {
                "ApicredStuck": { "severity": null, "for": "7m", "enabled": null },
                "ApicredNoLeader": { "severity": "page", "for": null },
            } },
            "livenessProbe": { "periodSeconds": 7, "tcpSocket": null },
            "affinity": { "nodeAffinity": {}, "podAffinity": null },
            "dnsConfig": { "nameservers": ["10.0.0.10"], "options": null },
        });
        let set = objects(&values).await;
        let issuers = set.all("ClusterTokenIssuer");
        let specs: Vec<&Value> = issuers.iter().map(|issuer| &issuer["spec"]).collect();
        let contoso = json!({ "entra": { "tenantId": "contoso.example" } });
        let other = json!({ "oidc": { "issuerUrl": "https://login.example" }, "network": {} });
        assert_eq!(specs, [&contoso, &other]);
        let groups = set.one("PrometheusRule")["spec"]["groups"].clone();
        let rules = groups[0]["rules"].as_array().expect("rules");
        let of = |name: &str| {
            let rule = rules.iter().find(|rule| rule["alert"] == name);
            let rule = rule.expect("a rule");
            json!([rule["for"], rule["labels"]["severity"]])
        };
        assert_eq!(of("ApicredStuck"), json!(["7m", "critical"]));
        assert_eq!(of("ApicredNoLeader"), json!(["2m", "page"]));
        let spec = &set.pod()["spec"];
        assert_eq!(spec["affinity"], json!({ "nodeAffinity": {} }));
        assert_eq!(spec["dnsConfig"], json!({ "nameservers": ["10.0.0.10"] }));
        let probe = &set.container()["livenessProbe"];
        assert!(
            probe["httpGet"].is_object() && probe["tcpSocket"].is_null(),
            "{probe}"
        );
    });
}

/// An override, if there is a value for it.
fn over_rule(over: &Value) -> Value {
    over.as_str().map_or(
        Value::Null,
        |minutes| json!({ "for": format!("{minutes}m") }),
    )
}

/// A chart that has apicred as a dependency.
fn umbrella(values: &Value) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).expect("a file");
    };
    write(
        "Chart.yaml",
        "apiVersion: v2\nname: platform\nversion: 1.0.0\ndependencies:\n  - name: apicred\n    version: \">=0\"\n    \
         repository: \"\"\n    condition: apicred.enabled\n",
    );
    write("values.yaml", &values.to_string());
    let charts = folder.path().join("charts");
    std::fs::create_dir(&charts).expect("a folder");
    std::os::unix::fs::symlink(CHART, charts.join("apicred")).expect("a link");
    folder
}

#[test]
fn a_chart_that_depends_on_it_can_switch_it_off() {
    run(async {
        let render = async |values: Value| {
            let folder = umbrella(&values);
            let chart = folder.path().display().to_string();
            Objects::read(&template_of(&chart, &[]).await.expect("it renders"))
        };
        let off = render(serde_json::json!({ "apicred": { "enabled": false } })).await;
        assert!(off.0.is_empty(), "{:?}", off.0);
        let nulls = serde_json::json!({ "enabled": true, "log": null, "metrics": null, "crds": { "keep": null } });
        for values in [
            serde_json::json!({}),
            serde_json::json!({ "apicred": { "enabled": true } }),
            serde_json::json!({ "global": { "anything": { "of": "others" } }, "apicred": nulls }),
        ] {
            let on = render(values).await;
            assert_eq!(on.env("APICRED_LOG_FORMAT"), Some("json"));
            assert_eq!(on.all("CustomResourceDefinition").len(), 4);
        }
        let folder =
            umbrella(&serde_json::json!({ "global": { "imageRegistry": "mirror.example:5000" } }));
        let chart = folder.path().display().to_string();
        let text = template_of(&chart, &[]).await.expect("it renders");
        let image = Objects::read(&text).container()["image"].clone();
        let image = image.as_str().expect("an image");
        assert!(
            image.starts_with("mirror.example:5000/apicred/apicred:"),
            "{image}"
        );
    });
}

#[test]
fn what_would_do_harm_is_refused_and_the_value_is_named() {
    run(async {
        for (set, expected) in [
            (
                "podLabels.app\\.kubernetes\\.io/name=other",
                ["/podLabels/app.kubernetes.io~1name", "want null"],
            ),
            (
                "podLabels.app\\.kubernetes\\.io/instance=other",
                ["/podLabels/app.kubernetes.io~1instance", "want null"],
            ),
            (
                "commonLabels.helm\\.sh/chart=other",
                ["/commonLabels/helm.sh~1chart", "want null"],
            ),
            ("commonLabels.a=true", ["commonLabels", "string"]),
            ("commonLabels.team=a b", ["/commonLabels/team", "a b"]),
            ("podLabels.team=-a", ["/podLabels/team", "-a"]),
            ("podLabels.the team=a", ["/podLabels", "the team"]),
            ("nodeSelector.disk=true", ["/nodeSelector/disk", "string"]),
            ("podAnnotations.the key=a", ["/podAnnotations", "the key"]),
            ("podAnnotations.key=1", ["/podAnnotations/key", "string"]),
            (
                "prometheusRule.labels.a=b c",
                ["/prometheusRule/labels/a", "b c"],
            ),
            (
                "resources.limits.memory=128 MB",
                ["/resources/limits/memory", "128 MB"],
            ),
            (
                "resources.requests.cpu=true",
                ["/resources/requests/cpu", "boolean"],
            ),
            (
                "tolerations[0].key=a,tolerations[0].value=true",
                ["/tolerations/0/value", "string"],
            ),
            (
                "tolerations[0].effect=NoStart",
                ["/tolerations/0/effect", "NoSchedule"],
            ),
            (
                "serviceAccount.create=false",
                ["serviceAccount.name", "exists"],
            ),
            ("replica=3", ["replica", "not allowed"]),
            ("metrics.port=0", ["metrics", "port"]),
            (
                "podDisruptionBudget.maxUnavailable=0",
                ["podDisruptionBudget", "maxUnavailable"],
            ),
            (
                "podDisruptionBudget.unhealthyPodEvictionPolicy=Never",
                ["podDisruptionBudget", "AlwaysAllow"],
            ),
            ("networkPolicy.dnsPorts={70000}", ["dnsPorts", "65,535"]),
            (
                "serviceMonitor.interval=often",
                ["serviceMonitor", "interval"],
            ),
            (
                "serviceMonitor.enabled=true,podMonitor.enabled=true",
                ["serviceMonitor", "podMonitor"],
            ),
            (
                "issuers.Contoso.entra.tenantId=contoso.example",
                ["issuers", "Contoso"],
            ),
            (
                "watchNamespaces={team-a},issuers.contoso.entra.tenantId=contoso.example",
                ["issuers", "clusterIssuers"],
            ),
            ("extraArgs=text", ["extraArgs", "array"]),
            ("fullnameOverride=My_Name", ["fullnameOverride", "My_Name"]),
            ("fullnameOverride=1name", ["fullnameOverride", "1name"]),
            ("fullnameOverride=my.name", ["fullnameOverride", "my.name"]),
            ("fullnameOverride=name-", ["fullnameOverride", "name-"]),
            ("serviceAccount.name=My_Name", ["serviceAccount", "My_Name"]),
            (
                "notifyPods.namespaces={team-a},rbac.create=false",
                ["notifyPods.namespaces", "rbac.create=true"],
            ),
            (
                "notifyPods.namespaces={team-a},notifyPods.create=false",
                ["notifyPods.namespaces", "notifyPods.create=true"],
            ),
            (
                "notifyPods.namespaces={team-a,team-b},watchNamespaces={team-a}",
                ["notifyPods.namespaces", "namespace team-b"],
            ),
        ] {
            let reported = refused(&["--set", set]).await;
            for expected_part in expected {
                assert!(
                    reported.contains(expected_part),
                    "{set}: no {expected_part:?} in {reported}"
                );
            }
        }
    });
}

#[test]
fn a_network_is_one_of_ipv4_or_ipv6_or_refused() {
    run(async {
        let wrong = [
            "10.0.0.300/8",
            "256.0.0.0/8",
            "10.0.0/8",
            "10.0.0.0.0/8",
            "10.0.0.0/33",
            "10.0.0.0",
            "10.0.0.0/",
            "010.0.0.0/8",
            "fd00::/129",
            "fd00::1::/16",
            "fd00:/16",
            "fd00::12345/64",
            "1:2:3:4:5:6:7:8:9/64",
            "1:2:3:4:5:6:7/64",
            "::ffff:10.0.0.300/104",
            ":/0",
            "",
            " 10.0.0.0/8",
            "https://10.0.0.0/8",
            ":1:2:3:4:5:6:7/64",
            "1:2:3:4:5:6:7:8::/64",
            ":::/64",
        ];
        let list = serde_json::json!({ "allowCidrs": wrong, "allowWideCidrs": true });
        let reported = refused_values(&list).await;
        for wrong in wrong {
            let expected =
                format!("allowCidrs: {wrong:?} is not a network; write it as 10.20.0.0/16");
            assert!(reported.contains(&expected), "{wrong}: {reported}");
        }
        let fine = [
            "10.0.0.0/8",
            "255.255.255.255/32",
            "0.0.0.0/0",
            "fd00::/16",
            "::1/128",
            "::/0",
            "1:2:3:4:5:6:7:8/64",
            "FD00:1234::5:6/100",
            "::ffff:10.0.0.0/104",
        ];
        for cidr in fine {
            assert!(cidr.parse::<ipnet::IpNet>().is_ok(), "{cidr}");
        }
        let list = serde_json::json!({ "allowCidrs": fine, "allowWideCidrs": true });
        let set = objects(&list).await;
        assert_eq!(set.env("APICRED_ALLOW_CIDR"), Some(fine.join(",").as_str()));
    });
}

#[test]
fn a_release_whose_name_no_service_can_have_is_refused() {
    run(async {
        for name in ["my.app", "1app"] {
            let render = |more: &'static [&'static str]| {
                let begin = ["template", name, CHART, "--set", "crds.install=false"];
                async move { testenv::run_helm(&[&begin, more].concat()).await }
            };
            let reported = render(&[]).await.expect_err("it renders").to_string();
            assert!(
                reported.contains(name) && reported.contains("set fullnameOverride"),
                "{reported}"
            );
            render(&["--set", "fullnameOverride=app"])
                .await
                .expect("it renders");
        }
    });
}
