//! What an attacker could use the operator itself for: its rights (T9), webhooks (T13), its admin port (T14).

use std::{collections::BTreeSet, path::Path, time::Duration};

use k8s_openapi::api::{core::v1::ServiceAccount, rbac::v1::ClusterRoleBinding};
use kube::{Api, api::PostParams};
use serde_json::{Value, json};

use crate::support::{NAMESPACE, SOON, World, run, typed};

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/apicred");

/// All rights of the operator in the whole cluster. Another line needs a reason in the chart.
const CLUSTER: [(&str, &str, &str); 27] = [
    ("", "configmaps", "list"),
    ("", "configmaps", "watch"),
    ("", "namespaces", "list"),
    ("", "namespaces", "watch"),
    ("", "secrets", "create"),
    ("", "secrets", "get"),
    ("", "secrets", "list"),
    ("", "secrets", "patch"),
    ("", "secrets", "watch"),
    ("", "serviceaccounts", "get"),
    ("", "serviceaccounts", "list"),
    ("", "serviceaccounts", "watch"),
    ("", "serviceaccounts/token", "create"),
    ("apicred.dev", "apiclients", "list"),
    ("apicred.dev", "apiclients", "watch"),
    ("apicred.dev", "apiclients/status", "patch"),
    ("apicred.dev", "apicredentials", "list"),
    ("apicred.dev", "apicredentials", "patch"),
    ("apicred.dev", "apicredentials", "watch"),
    ("apicred.dev", "apicredentials/status", "patch"),
    ("apicred.dev", "clustertokenissuers", "list"),
    ("apicred.dev", "clustertokenissuers", "watch"),
    ("apicred.dev", "clustertokenissuers/status", "patch"),
    ("apicred.dev", "tokenissuers", "list"),
    ("apicred.dev", "tokenissuers", "watch"),
    ("apicred.dev", "tokenissuers/status", "patch"),
    ("events.k8s.io", "events", "create"),
];

/// The chart as helm renders it, object by object.
async fn rendered(world: &World, more: &[&str]) -> Vec<Value> {
    let mut args = vec!["template", "apicred", CHART, "--namespace", NAMESPACE];
    args.extend(more);
    let text = world.cluster.helm(&args).await.expect("a chart");
    let documents = text.split("\n---\n").filter(|d| d.contains("kind:"));
    documents
        .map(|d| serde_saphyr::from_str(d).expect("YAML"))
        .collect()
}

fn of_kind<'a>(objects: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    objects.iter().filter(move |o| o["kind"] == kind)
}

/// Group, resource and verb of each right of a role.
fn rights(role: &Value) -> BTreeSet<(String, String, String)> {
    let list = |rule: &Value, field: &str| -> Vec<String> {
        let items = rule[field].as_array().into_iter().flatten();
        items.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut all = BTreeSet::new();
    for rule in role["rules"].as_array().into_iter().flatten() {
        assert!(rule["nonResourceURLs"].is_null(), "{rule}");
        for group in list(rule, "apiGroups") {
            for resource in list(rule, "resources") {
                for verb in list(rule, "verbs") {
                    all.insert((group.clone(), resource.clone(), verb));
                }
            }
        }
    }
    all
}

#[test]
fn the_operators_roles_are_these_and_no_more() {
    run(async {
        let world = World::shared().await;
        let wanted = |tokens: bool| -> BTreeSet<_> {
            let all = CLUSTER
                .iter()
                .filter(|(_, r, _)| tokens || !r.starts_with("serviceaccounts"));
            all.map(|(g, r, v)| ((*g).to_owned(), (*r).to_owned(), (*v).to_owned()))
                .collect()
        };
        for (tokens, set) in [
            (true, "serviceAccountTokens=true"),
            (false, "serviceAccountTokens=false"),
        ] {
            let objects = rendered(world, &["--set", set]).await;
            let bound: Vec<&Value> = of_kind(&objects, "ClusterRoleBinding").collect();
            assert_eq!(bound.len(), 1, "one binding");
            assert_eq!(bound[0]["roleRef"]["name"], "apicred");
            let subjects =
                json!([{ "kind": "ServiceAccount", "name": "apicred", "namespace": NAMESPACE }]);
            assert_eq!(bound[0]["subjects"], subjects);
            let role =
                of_kind(&objects, "ClusterRole").find(|r| r["metadata"]["name"] == "apicred");
            assert_eq!(rights(role.unwrap()), wanted(tokens), "{set}");
            // In its own namespace: one lease, by name.
            let roles: Vec<&Value> = of_kind(&objects, "Role").collect();
            assert_eq!(roles.len(), 1);
            for (_, resource, verb) in rights(roles[0]) {
                assert_eq!(resource, "leases");
                assert!(
                    ["create", "get", "update"].contains(&verb.as_str()),
                    "{verb}"
                );
            }
            for rule in roles[0]["rules"].as_array().unwrap() {
                let named = rule["resourceNames"] == json!(["apicred"]);
                assert!(named || rule["verbs"] == json!(["create"]), "{rule}");
            }
            for role in of_kind(&objects, "ClusterRole").chain(of_kind(&objects, "Role")) {
                for (group, resource, verb) in rights(role) {
                    for expected_part in [&group, &resource, &verb] {
                        assert!(
                            !expected_part.contains('*'),
                            "a wildcard in {}",
                            role["metadata"]["name"]
                        );
                    }
                    let strong = ["escalate", "bind", "impersonate", "approve", "sign"];
                    assert!(!strong.contains(&verb.as_str()), "{verb}");
                }
            }
            // Rights of users by the cluster's own roles: none on Secrets, and none to write objects of an administrator.
            for role in
                of_kind(&objects, "ClusterRole").filter(|r| r["metadata"]["name"] != "apicred")
            {
                // The owner of a namespace binds it, if at all.
                if role["metadata"]["name"] == "apicred-notify-pods" {
                    assert_eq!(role["metadata"]["labels"].as_object().unwrap().len(), 5);
                    let wanted = ["list", "patch"].map(|verb| ("", "pods", verb));
                    let wanted = wanted.map(|(g, r, v)| (g.to_owned(), r.to_owned(), v.to_owned()));
                    assert_eq!(rights(role), BTreeSet::from(wanted));
                    continue;
                }
                for (group, resource, verb) in rights(role) {
                    assert_eq!(group, "apicred.dev");
                    let reads = ["get", "list", "watch"].contains(&verb.as_str());
                    assert!(
                        reads || resource != "clustertokenissuers",
                        "{verb} {resource}"
                    );
                    // A user who installs an operator for a namespace must have the rights that the operator gets.
                    let admins = role["metadata"]["name"] == "apicred-admin";
                    let status = resource.contains("status");
                    assert_eq!(status, admins, "{verb} {resource}");
                    assert!(!admins || verb == "patch", "{verb} {resource}");
                    let labels = role["metadata"]["labels"].to_string();
                    assert!(!admins || !labels.contains("aggregate-to-edit"), "{labels}");
                }
            }
        }
    });
}

#[test]
fn each_rule_of_the_role_names_the_code_that_needs_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = ["rbac.yaml", "_rules.tpl", "notify-pods.yaml"]
        .map(|file| root.join("charts/apicred/templates").join(file))
        .map(|path| std::fs::read_to_string(path).unwrap())
        .concat();
    let (mut comment, mut rules) = (String::new(), 0);
    for line in text.lines().map(str::trim_start) {
        if let Some(expected) = line.strip_prefix('#') {
            comment.push_str(expected);
        } else if line.starts_with("- apiGroups") {
            rules += 1;
            let named: Vec<&str> = comment
                .split_whitespace()
                .map(|w| w.trim_matches(|c: char| ":,.".contains(c)))
                .filter(|w| w.starts_with("src/"))
                .collect();
            assert!(!named.is_empty(), "rule {rules} names no file: {comment}");
            for file in named {
                let code = std::fs::read_to_string(root.join(file));
                let code = code.unwrap_or_else(|_| panic!("{file} is not there"));
                let after = comment.split_once(file).map_or("", |(_, after)| after);
                if let Some((function, _)) =
                    after.strip_prefix(" (").and_then(|a| a.split_once(')'))
                {
                    assert!(
                        code.contains(&format!("fn {function}")),
                        "{file} has no fn {function}"
                    );
                }
            }
        } else if line.starts_with("verbs:") && !comment.contains("src/leader") {
            // Both rules of the lease are under one comment.
            comment.clear();
        }
    }
    assert!(rules >= 12, "only {rules} rules were checked");
}

#[test]
fn the_operators_token_has_only_the_rights_of_its_role() {
    run(async {
        let world = World::shared().await;
        let place = world.place("t9").await;
        place.create("c", json!({ "suspend": true })).await;
        // Another account with the same role, so that the audit log of the operator's own account is not affected.
        let account: ServiceAccount = typed(json!({ "metadata": { "name": "stolen" } }));
        let binding: ClusterRoleBinding = typed(json!({
            "metadata": { "name": place.namespace },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "apicred" },
            "subjects": [{ "kind": "ServiceAccount", "name": "stolen", "namespace": place.namespace }],
        }));
        let params = PostParams::default();
        Api::namespaced(place.kube.clone(), &place.namespace)
            .create(&params, &account)
            .await
            .unwrap();
        Api::all(place.kube.clone())
            .create(&params, &binding)
            .await
            .unwrap();
        let kubeconfig = &world
            .cluster
            .service_account_kubeconfig(&place.namespace, "stolen", Duration::from_hours(1))
            .await
            .unwrap();
        let reads = ["get", "secret", "source", "-n", place.namespace.as_str()];
        let can = || world.cluster.kubectl_as(kubeconfig, &reads);
        testenv::eventually(SOON, "the role to hold", async || can().await.is_ok()).await;
        let there = ["-n", place.namespace.as_str()];
        let kube_system = ["-n", "kube-system"];
        #[rustfmt::skip]
        let attempts: [(&[&str], &[&str]); 15] = [
            (&there, &["delete", "secret", "source"]),
            (&there, &["delete", "secrets", "--all"]),
            (&there, &["run", "pod", "--image=x"]),
            (&there, &["create", "role", "r", "--verb=get", "--resource=pods"]),
            (&there, &["create", "rolebinding", "r", "--clusterrole=cluster-admin", "--serviceaccount=apicred-system:apicred"]),
            (&[], &["create", "clusterrolebinding", "r", "--clusterrole=cluster-admin", "--serviceaccount=apicred-system:apicred"]),
            (&there, &["create", "configmap", "c"]),
            (&there, &["create", "serviceaccount", "s"]),
            (&there, &["delete", "configmaps", "--all"]),
            (&[], &["get", "nodes"]),
            (&[], &["get", "clusterroles"]),
            (&[], &["get", "secrets", "-A", "--as=admin", "--as-group=system:masters"]),
            (&there, &["delete", "apicredential", "c"]),
            (&[], &["delete", "crd", "apicredentials.apicred.dev"]),
            (&kube_system, &["delete", "lease", "--all"]),
        ];
        for (place, attempt) in attempts {
            let args: Vec<&str> = place.iter().chain(attempt).copied().collect();
            let refused = world.cluster.kubectl_as(kubeconfig, &args).await;
            let refused = refused.expect_err("it was done").to_string();
            assert!(
                refused.to_lowercase().contains("forbidden"),
                "{attempt:?}: {refused}"
            );
        }
    });
}

#[test]
fn nothing_stands_in_the_way_of_the_api_server() {
    run(async {
        let world = World::shared().await;
        for more in [
            &[][..],
            &[
                "--set",
                "networkPolicy.enabled=true,serviceMonitor.enabled=true",
            ],
        ] {
            let objects = rendered(world, more).await;
            let kinds: BTreeSet<&str> = objects.iter().filter_map(|o| o["kind"].as_str()).collect();
            for kind in [
                "ValidatingWebhookConfiguration",
                "MutatingWebhookConfiguration",
                "APIService",
            ] {
                assert!(!kinds.contains(kind), "{kind}");
            }
            for crd in of_kind(&objects, "CustomResourceDefinition") {
                assert!(crd["spec"]["conversion"].is_null(), "a conversion webhook");
            }
            for secret in ["Secret", "Job", "CronJob", "DaemonSet"] {
                assert!(!kinds.contains(secret), "{secret}");
            }
            // The only port is the admin port, and the pod has no privilege that it does not need.
            for service in of_kind(&objects, "Service") {
                assert_eq!(service["spec"]["ports"].as_array().unwrap().len(), 1);
                assert!(service["spec"]["type"].is_null(), "open to the outside");
            }
            let deployment = of_kind(&objects, "Deployment").next().unwrap();
            let pod = &deployment["spec"]["template"]["spec"];
            assert_eq!(pod["automountServiceAccountToken"], false);
            assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
            for field in ["hostNetwork", "hostPID", "hostIPC"] {
                assert!(pod[field].is_null(), "{field}");
            }
            for volume in pod["volumes"].as_array().unwrap() {
                assert!(volume["hostPath"].is_null(), "{volume}");
            }
            let inside = &pod["containers"][0]["securityContext"];
            assert_eq!(inside["readOnlyRootFilesystem"], true);
            assert_eq!(inside["allowPrivilegeEscalation"], false);
            assert_eq!(inside["capabilities"]["drop"], json!(["ALL"]));
        }
    });
}

#[test]
fn the_admin_port_shows_three_things_and_takes_no_orders() {
    run(async {
        let world = World::shared().await;
        let place = world.place("t14").await;
        place.create("c", json!({})).await;
        place.ready("c").await;
        let operator = world.operator();
        for path in [
            "/",
            "/debug",
            "/debug/pprof/",
            "/config",
            "/env",
            "/secrets",
            "/token",
            "/tokens",
            "/healthz",
            "/metrics/",
            "/metrics/..",
            "/livez/../env",
            "//metrics",
            "/%2e%2e/etc/passwd",
            "/api/v1/secrets",
            "/shutdown",
        ] {
            let (status, text) = operator.get(path).await.unwrap();
            assert_eq!(status, 404, "{path}");
            assert!(text.len() < 100, "{path}: {text}");
        }
        let net = place.canaries.net();
        for path in ["/livez", "/readyz", "/metrics"] {
            let (status, text) = operator.get(path).await.unwrap();
            assert_eq!(status, 200, "{path}");
            assert_eq!(net.first_leak(&text), None, "{path}");
            // Names of ClusterTokenIssuers, which administrators create, are label values of one metric. Here they are those of places.
            let issuers = |line: &&str| !line.starts_with("apicred_token_requests_total{");
            let text: Vec<&str> = text.lines().filter(issuers).collect();
            let text = text.join("\n");
            for expected_part in [
                &place.namespace,
                &place.client,
                &place.issuer.tenant().to_owned(),
            ] {
                assert!(
                    !text.contains(expected_part.as_str()),
                    "{path} names {expected_part}"
                );
            }
            for method in ["POST", "PUT", "DELETE", "PATCH"] {
                assert_eq!(
                    operator.request(method, path).await,
                    Some(405),
                    "{method} {path}"
                );
            }
        }
    });
}
