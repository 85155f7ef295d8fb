//! The objects for given values. These tests need no cluster.

use serde_json::{Value, json};

use crate::support::{NAMESPACE, Objects, objects, objects_with, run};

const SELECTOR: [(&str, &str); 2] = [
    ("app.kubernetes.io/name", "apicred"),
    ("app.kubernetes.io/instance", "apicred"),
];

/// The labels by which the Deployment selects its pods.
fn selector() -> Value {
    SELECTOR
        .iter()
        .map(|(k, v)| ((*k).to_owned(), json!(v)))
        .collect()
}

#[test]
fn pods_carry_what_selects_them_and_no_version() {
    run(async {
        let plain = objects(&json!({})).await;
        let labels = &plain.pod()["metadata"]["labels"];
        let mut wanted = selector();
        wanted["app.kubernetes.io/component"] = json!("controller");
        assert_eq!(labels, &wanted, "a label with a version restarts pods");
        let more = json!({ "podLabels": { "team": "a" }, "commonLabels": { "owner": "b" } });
        let more = objects(&more).await;
        wanted["team"] = json!("a");
        assert_eq!(more.pod()["metadata"]["labels"], wanted);
        assert_eq!(
            more.one("Deployment")["spec"]["selector"]["matchLabels"],
            selector()
        );
        for object in &more.0 {
            let labels = &object["metadata"]["labels"];
            let test = object["metadata"]["name"] == "apicred-check";
            assert!(test || labels["owner"] == "b", "{object}");
        }
    });
}

#[test]
fn on_openshift_the_ids_are_left_to_it() {
    run(async {
        let api = ["--api-versions", "security.openshift.io/v1"];
        let ids = ["runAsUser", "runAsGroup", "fsGroup"];
        let context = |objects: &Objects| objects.pod()["spec"]["securityContext"].clone();
        let plain = context(&objects(&json!({})).await);
        let there = objects_with(&json!({}), &api).await;
        for id in ids {
            assert_eq!(plain[id], 65532);
            assert!(context(&there)[id].is_null(), "{id}");
            assert!(
                there.one("Pod")["spec"]["securityContext"][id].is_null(),
                "{id} of the check"
            );
        }
        assert_eq!(context(&there)["runAsNonRoot"], true);
        // If a user sets them, they stay; with null, they are removed everywhere.
        let set = json!({ "podSecurityContext": { "runAsUser": 1000, "fsGroup": null } });
        for args in [&api[..], &[]] {
            let context = context(&objects_with(&set, args).await);
            assert_eq!(context["runAsUser"], 1000);
            assert!(context["fsGroup"].is_null());
        }
        let set = json!({ "securityContext": { "readOnlyRootFilesystem": false } });
        let set = objects(&set).await;
        let context = &set.container()["securityContext"];
        assert_eq!(context["readOnlyRootFilesystem"], false);
        assert_eq!(context["capabilities"], json!({ "drop": ["ALL"] }));
    });
}

#[test]
fn replicas_prefer_different_nodes_and_a_drain_takes_one_of_them() {
    run(async {
        let plain = objects(&json!({})).await;
        let affinity = &plain.pod()["spec"]["affinity"]["podAntiAffinity"];
        let term =
            &affinity["preferredDuringSchedulingIgnoredDuringExecution"][0]["podAffinityTerm"];
        assert_eq!(term["topologyKey"], "kubernetes.io/hostname");
        assert_eq!(term["labelSelector"]["matchLabels"], selector());
        let budget = &plain.one("PodDisruptionBudget")["spec"];
        assert_eq!(
            budget,
            &json!({
                "selector": { "matchLabels": selector() },
                "maxUnavailable": 1,
                "unhealthyPodEvictionPolicy": "AlwaysAllow",
            })
        );
        for values in [
            json!({ "replicas": 1 }),
            json!({ "replicas": 0 }),
            json!({ "podDisruptionBudget": { "enabled": false } }),
        ] {
            assert!(
                objects(&values).await.all("PodDisruptionBudget").is_empty(),
                "{values}"
            );
        }
        let own = json!({ "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": [] } } });
        let spread = |selector: Value| {
            let mut one = json!({ "maxSkew": 1, "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "ScheduleAnyway" });
            if !selector.is_null() {
                one["labelSelector"] = selector;
            }
            one
        };
        let other = json!({ "matchLabels": { "team": "a" } });
        let values = json!({ "affinity": own, "topologySpreadConstraints": [spread(Value::Null), spread(other.clone())] });
        let set = objects(&values).await;
        assert_eq!(set.pod()["spec"]["affinity"], own);
        let ours = json!({ "matchLabels": selector() });
        assert_eq!(
            set.pod()["spec"]["topologySpreadConstraints"],
            json!([spread(ours), spread(other)])
        );
    });
}

#[test]
fn a_service_account_that_exists_is_used() {
    run(async {
        let mine = objects(&json!({ "serviceAccount": { "create": false, "name": "mine" } })).await;
        assert!(mine.all("ServiceAccount").is_empty());
        assert_eq!(mine.pod()["spec"]["serviceAccountName"], "mine");
        for binding in ["ClusterRoleBinding", "RoleBinding"] {
            assert_eq!(mine.one(binding)["subjects"][0]["name"], "mine");
        }
        let made = json!({ "commonLabels": { "team": "a" }, "serviceAccount": { "labels": { "team": "b" } } });
        let made = objects(&made).await;
        assert_eq!(
            made.one("ServiceAccount")["metadata"]["labels"]["team"],
            "b"
        );
    });
}

/// Many readers do not accept YAML with a duplicate key.
#[test]
fn the_label_of_the_dashboard_wins_over_a_common_one() {
    run(async {
        let values = json!({
            "commonLabels": { "grafana_dashboard": "x", "team": "a" },
            "grafanaDashboard": { "enabled": true },
        });
        let labels = objects(&values).await.one("ConfigMap")["metadata"]["labels"].clone();
        assert_eq!(
            (&labels["grafana_dashboard"], &labels["team"]),
            (&json!("1"), &json!("a"))
        );
    });
}

#[test]
fn prometheus_keeps_the_namespace_of_a_credential() {
    run(async {
        for (value, kind, endpoints) in [
            ("serviceMonitor", "ServiceMonitor", "endpoints"),
            ("podMonitor", "PodMonitor", "podMetricsEndpoints"),
        ] {
            let plain = objects(&json!({ value: { "enabled": true } })).await;
            let endpoint = json!({ "port": "http", "path": "/metrics", "interval": "30s", "honorLabels": true });
            assert_eq!(plain.one(kind)["spec"][endpoints], json!([endpoint]));
            let drop = json!([{ "action": "labeldrop", "regex": "pod" }]);
            let all = objects(&json!({ value: {
                "enabled": true, "namespace": "monitoring", "scrapeTimeout": "9s", "honorLabels": false,
                "labels": { "release": "prometheus" }, "annotations": { "a": "b" },
                "relabelings": drop, "metricRelabelings": drop,
            } }))
            .await;
            let monitor = all.one(kind);
            assert_eq!(monitor["metadata"]["namespace"], "monitoring");
            assert_eq!(monitor["metadata"]["labels"]["release"], "prometheus");
            assert_eq!(monitor["metadata"]["annotations"], json!({ "a": "b" }));
            assert_eq!(
                monitor["spec"]["namespaceSelector"],
                json!({ "matchNames": [NAMESPACE] })
            );
            assert_eq!(
                monitor["spec"][endpoints],
                json!([{
                    "port": "http", "path": "/metrics", "interval": "30s", "scrapeTimeout": "9s", "honorLabels": false,
                    "relabelings": drop, "metricRelabelings": drop,
                }])
            );
        }
    });
}

#[test]
fn the_network_policy_knows_other_ports_of_dns_and_rules_of_others() {
    run(async {
        let policy = async |more: Value| {
            let mut values = json!({ "networkPolicy": { "enabled": true } });
            for (key, value) in more.as_object().into_iter().flatten() {
                values["networkPolicy"][key] = value.clone();
            }
            objects(&values).await.one("NetworkPolicy")["spec"].clone()
        };
        let dns = policy(json!({ "dnsPorts": [53, 5353] })).await;
        let ports: Vec<_> = dns["egress"][0]["ports"]
            .as_array()
            .expect("ports")
            .iter()
            .map(|p| p["port"].clone())
            .collect();
        assert_eq!(ports, [53, 53, 5353, 5353]);
        let rule = json!([{ "ports": [{ "port": 9443, "protocol": "TCP" }] }]);
        let own = policy(json!({ "egress": rule, "ingress": rule })).await;
        assert_eq!((&own["egress"], &own["ingress"]), (&rule, &rule));
    });
}

/// `helm test` reads the metrics as well.
#[test]
fn the_pod_of_the_check_may_read_what_others_may_not() {
    run(async {
        let monitoring = json!({ "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": "monitoring" } } });
        let set = async |from: Value, tests: bool| {
            let policy = json!({ "enabled": true, "metricsFrom": from });
            objects(&json!({ "networkPolicy": policy, "tests": { "enabled": tests } })).await
        };
        let from = |set: &Objects| set.one("NetworkPolicy")["spec"]["ingress"][0]["from"].clone();
        let with = set(json!([monitoring]), true).await;
        let labels = &with.one("Pod")["metadata"]["labels"];
        let peers = from(&with);
        assert_eq!(
            (peers.as_array().map(Vec::len), &peers[0]),
            (Some(2), &monitoring)
        );
        let selector = peers[1]["podSelector"]["matchLabels"]
            .as_object()
            .expect("labels");
        assert!(selector.len() >= 2, "{selector:?}");
        for (key, value) in selector {
            assert_eq!(&labels[key], value, "{key} of the check");
        }
        // The policy does not select the check itself, and its port is that of the address to which the check connects.
        assert_ne!(
            &with.one("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
            &peers[1]["podSelector"]["matchLabels"]
        );
        assert_eq!(
            from(&set(json!([monitoring]), false).await),
            json!([monitoring])
        );
        assert_eq!(
            from(&set(json!([]), true).await),
            Value::Null,
            "anybody may"
        );
    });
}

#[test]
fn crds_are_kept_by_helm_argo_cd_and_flux_unless_crds_keep_is_false() {
    run(async {
        let notes = async |values: Value| {
            let path = tempfile::NamedTempFile::new().expect("a file");
            std::fs::write(path.path(), values.to_string()).expect("a file");
            let path = path.path().display().to_string();
            let text = crate::support::text(&["--values", &path]).await;
            let all = Objects::read(&text);
            let all = all.all("CustomResourceDefinition");
            assert_eq!(all.len(), 4);
            let notes: Vec<_> = all
                .iter()
                .map(|o| o["metadata"]["annotations"].clone())
                .collect();
            assert!(notes.iter().all(|n| n == &notes[0]));
            notes[0].clone()
        };
        let kept = json!({
            "helm.sh/resource-policy": "keep",
            "argocd.argoproj.io/sync-options": "Prune=false,Delete=false",
            "kustomize.toolkit.fluxcd.io/prune": "disabled",
        });
        assert_eq!(notes(json!({})).await, kept);
        assert_eq!(
            notes(json!({ "crds": { "keep": false } })).await,
            Value::Null
        );
        let own = json!({ "crds": { "keep": false, "annotations": { "a": "b" } } });
        assert_eq!(notes(own).await, json!({ "a": "b" }));
    });
}

#[test]
fn the_pod_matches_the_chart_values() {
    run(async {
        let probe = json!({ "periodSeconds": 7, "httpGet": { "path": "/livez", "port": "http" } });
        let volume = json!({ "name": "more", "emptyDir": {} });
        let mount = json!({ "name": "more", "mountPath": "/more" });
        let sidecar = json!({ "name": "sidecar", "image": "example.com/sidecar:1" });
        let values = json!({
            "global": { "imageRegistry": "mirror.example", "imagePullSecrets": ["one"] },
            "imagePullSecrets": [{ "name": "two" }, { "name": "one" }],
            "image": { "tag": "9.9.9" },
            "deploymentAnnotations": { "a": "b" }, "podAnnotations": { "c": "d" },
            "strategy": { "type": "Recreate", "rollingUpdate": null },
            "revisionHistoryLimit": 1,
            "extraArgs": ["--log-filter=debug"],
            "extraVolumes": [volume], "extraVolumeMounts": [mount], "extraContainers": [sidecar],
            "extraObjects": [
                { "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "one" }, "data": { "alert": "{{ $labels.name }}" } },
                "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: '{{ include \"apicred.name\" . }}-two' }",
            ],
            "dnsPolicy": "None", "dnsConfig": { "nameservers": ["10.0.0.10"] },
            "hostAliases": [{ "ip": "10.0.0.9", "hostnames": ["idp.example"] }],
            "hostUsers": false, "runtimeClassName": "gvisor", "schedulerName": "other", "priorityClassName": "high",
            "livenessProbe": { "periodSeconds": 7, "initialDelaySeconds": 0 }, "readinessProbe": { "failureThreshold": 9 },
            "metrics": { "port": 9090, "perCredential": true },
            "caBundle": { "configMap": "company-ca", "key": "root.pem" },
        });
        let set = objects(&values).await;
        let spec = &set.pod()["spec"];
        let container = set.container();
        assert_eq!(container["image"], "mirror.example/apicred/apicred:9.9.9");
        assert_eq!(
            spec["imagePullSecrets"],
            json!([{ "name": "one" }, { "name": "two" }])
        );
        assert_eq!(
            set.one("Deployment")["metadata"]["annotations"],
            json!({ "a": "b" })
        );
        assert_eq!(
            set.one("Deployment")["spec"]["strategy"],
            json!({ "type": "Recreate" })
        );
        assert_eq!(set.one("Deployment")["spec"]["revisionHistoryLimit"], 1);
        assert_eq!(container["args"], json!(["run", "--log-filter=debug"]));
        assert!(
            spec["volumes"]
                .as_array()
                .expect("volumes")
                .contains(&volume)
        );
        assert!(
            container["volumeMounts"]
                .as_array()
                .expect("mounts")
                .contains(&mount)
        );
        assert_eq!(spec["containers"][1], sidecar);
        let names: Vec<_> = set
            .all("ConfigMap")
            .iter()
            .map(|o| o["metadata"]["name"].clone())
            .collect();
        assert_eq!(names, ["one", "apicred-two"]);
        for field in [
            "dnsPolicy",
            "dnsConfig",
            "hostAliases",
            "hostUsers",
            "runtimeClassName",
            "schedulerName",
            "priorityClassName",
        ] {
            assert_eq!(spec[field], values[field], "{field}");
        }
        let live = &container["livenessProbe"];
        assert_eq!(
            (&live["periodSeconds"], &live["httpGet"]),
            (&probe["periodSeconds"], &probe["httpGet"])
        );
        assert_eq!(
            (&live["initialDelaySeconds"], &live["failureThreshold"]),
            (&json!(0), &json!(3))
        );
        assert_eq!(container["readinessProbe"]["failureThreshold"], 9);
        assert_eq!(container["ports"][0]["containerPort"], 9090);
        assert_eq!(set.env("APICRED_ADMIN_LISTEN"), Some("0.0.0.0:9090"));
        assert_eq!(set.one("Service")["spec"]["ports"][0]["port"], 9090);
        assert_eq!(set.env("APICRED_METRICS_PER_CREDENTIAL"), Some("true"));
        assert_eq!(set.env("APICRED_CA_FILE"), Some("/etc/apicred/ca/root.pem"));
        let mounts = container["volumeMounts"].as_array().expect("mounts");
        assert!(mounts.iter().any(|m| m["mountPath"] == "/etc/apicred/ca"));
        let volumes = spec["volumes"].as_array().expect("volumes");
        assert!(
            volumes
                .iter()
                .any(|v| v["configMap"]["name"] == "company-ca")
        );
    });
}

#[test]
fn issuers_are_objects_of_the_release_and_everybody_may_read_them_if_set() {
    run(async {
        let spec = json!({ "entra": { "tenantId": "contoso.example" } });
        let values = json!({ "issuers": { "contoso": spec }, "rbac": { "issuerReaders": true }, "flowSchema": { "enabled": true } });
        let set = objects(&values).await;
        let issuer = set.one("ClusterTokenIssuer");
        assert_eq!(
            (&issuer["metadata"]["name"], &issuer["spec"]),
            (&json!("contoso"), &spec)
        );
        let bindings = set.all("ClusterRoleBinding");
        let readers: Vec<_> = bindings
            .iter()
            .filter(|b| b["metadata"]["name"] == "apicred-issuer-readers")
            .collect();
        assert_eq!(readers[0]["subjects"][0]["name"], "system:authenticated");
        let flow = &set.one("FlowSchema")["spec"]["rules"][0];
        assert_eq!(
            flow["subjects"][0]["serviceAccount"],
            json!({ "name": "apicred", "namespace": NAMESPACE })
        );
        let plain = objects(&json!({ "tests": { "enabled": false } })).await;
        for kind in ["ClusterTokenIssuer", "FlowSchema", "Pod"] {
            assert!(plain.all(kind).is_empty(), "{kind}");
        }
        assert_eq!(plain.all("ClusterRoleBinding").len(), 1);
    });
}

/// The operator names the role in its messages.
#[test]
fn the_operator_knows_the_role_for_notifications_only_if_the_chart_creates_it() {
    run(async {
        for (rbac, create) in [(true, true), (true, false), (false, true), (false, false)] {
            let values = json!({ "rbac": { "create": rbac }, "notifyPods": { "create": create } });
            let set = objects(&values).await;
            let known = set.env("APICRED_NOTIFY_PODS_ROLE");
            let is = |role: &&&Value| role["metadata"]["name"] == "apicred-notify-pods";
            let roles = set.all("ClusterRole");
            let created = roles.iter().find(is).is_some();
            assert_eq!(created, rbac && create, "{values}");
            assert_eq!(known, created.then_some("apicred-notify-pods"), "{values}");
        }
    });
}
