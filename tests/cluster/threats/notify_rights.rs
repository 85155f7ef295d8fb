//! What is possible with the right to notify pods.

use kube::{Api, api::PostParams};
use serde_json::{Value, json};

use crate::support::{NAMESPACE, SOON, World, run, typed};

/// A user with the operator's token, in a namespace whose owner allows it to notify pods.
#[test]
fn the_right_to_notify_pods_changes_nothing_of_a_pod_but_one_annotation() {
    run(async {
        let world = World::own().await;
        let place = world.place("t23").await;
        let there = ["-n", place.namespace.as_str()];
        // More than the chart grants: the role does not refuse these requests, so the policy must.
        let role = [
            "create",
            "clusterrole",
            "all-of-pods",
            "--verb=*",
            "--resource=pods,pods/status,pods/ephemeralcontainers,pods/binding,pods/eviction,pods/resize",
        ];
        world.cluster.kubectl(&role).await.unwrap();
        for (name, role) in [("given", "apicred-notify-pods"), ("all", "all-of-pods")] {
            let role = format!("--clusterrole={role}");
            let account = format!("--serviceaccount={NAMESPACE}:apicred");
            let bind = ["create", "rolebinding", name, &role, &account];
            world
                .cluster
                .kubectl(&[&there[..], &bind].concat())
                .await
                .unwrap();
        }
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": "p", "labels": { "app": "a" }, "annotations": { "owner": "team" }, "finalizers": ["example.com/f"] },
            "spec": { "containers": [{ "name": "app", "image": "app.example/app:1" }] },
        });
        let pods: Api<k8s_openapi::api::core::v1::Pod> =
            Api::namespaced(place.kube.clone(), &place.namespace);
        let pod = typed(pod);
        testenv::eventually(SOON, "a pod", async || {
            pods.create(&PostParams::default(), &pod).await.map(drop)
        })
        .await;
        let token = &world.operator_kubeconfig().clone();
        let attempt = async |args: &[&str]| {
            world
                .cluster
                .kubectl_as(token, &[&there[..], args].concat())
                .await
        };
        let own = r#"{"metadata":{"annotations":{"apicred.dev/token-updated-at":"2026-01-31T09:00:00Z"}}}"#;
        let may = async || {
            attempt(&["patch", "pod", "p", "--type=merge", "-p", own])
                .await
                .map(drop)
        };
        testenv::eventually(SOON, "what the operator does", may).await;
        // The policy takes effect shortly after its creation.
        let label = &[
            "patch",
            "pod",
            "p",
            "--type=merge",
            "-p",
            r#"{"metadata":{"labels":{"probe":"x"}}}"#,
        ][..];
        testenv::eventually(SOON, "the policy", async || attempt(label).await.is_err()).await;
        let before = pods.get("p").await.unwrap();
        let value = |value: &str| {
            format!(
                r#"{{"metadata":{{"annotations":{{"apicred.dev/token-updated-at":{value}}}}}}}"#
            )
        };
        let long = value(&format!("\"{}\"", "9".repeat(1000)));
        let (free, none) = (value("\"run this\""), value("null"));
        let times = [
            "",
            "--------------------",
            "2026-01-31",
            "2026-01-31T09:00:01",
            "2026-01-31T25:00:00Z",
            "2026-02-30T09:00:00Z",
            "2026-13-01T09:00:00Z",
        ];
        let times = times.map(|time| value(&format!("\"{time}\"")));
        let merges = [
            r#"{"spec":{"containers":[{"name":"app","image":"evil.example/x"}]}}"#,
            r#"{"spec":{"activeDeadlineSeconds":1}}"#,
            r#"{"spec":{"tolerations":[{"operator":"Exists"}]}}"#,
            r#"{"metadata":{"labels":{"app":"b"}}}"#,
            r#"{"metadata":{"labels":{"more":"b"}}}"#,
            r#"{"metadata":{"labels":null}}"#,
            r#"{"metadata":{"annotations":{"owner":"me"}}}"#,
            r#"{"metadata":{"annotations":{"owner":null}}}"#,
            r#"{"metadata":{"annotations":null}}"#,
            r#"{"metadata":{"annotations":{"cluster-autoscaler.kubernetes.io/safe-to-evict":"true"}}}"#,
            r#"{"metadata":{"annotations":{"apicred.dev/token-updated-at":"2026-01-31T09:00:01Z","more":"x"}}}"#,
            r#"{"metadata":{"finalizers":null}}"#,
            r#"{"metadata":{"finalizers":["example.com/f","example.com/g"]}}"#,
            r#"{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"c","uid":"u"}]}}"#,
            r#"{"metadata":{"generateName":"a-"}}"#,
            r#"{"metadata":{"generateName":"a-","annotations":{"apicred.dev/token-updated-at":"2026-01-31T09:00:01Z"}}}"#,
            r#"{"metadata":{"selfLink":"/a"}}"#,
            // An empty list would make server-side apply forget the owners of fields, and a new entry would make it refuse the owners.
            r#"{"metadata":{"managedFields":[{}]}}"#,
            r#"{"metadata":{"managedFields":[]}}"#,
            r#"{"metadata":{"managedFields":[{}],"annotations":{"apicred.dev/token-updated-at":"2026-01-31T09:00:01Z"}}}"#,
            r#"{"metadata":{"managedFields":[{"manager":"kubectl","operation":"Apply","apiVersion":"v1","time":"2026-01-31T09:00:00Z","fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{"f:labels":{"f:app":{}}}}}]}}"#,
            &long,
            &free,
            &none,
        ];
        let merges = merges.iter().copied();
        let mut attempts: Vec<Vec<&str>> = merges
            .chain(times.iter().map(String::as_str))
            .map(|patch| vec!["patch", "pod", "p", "--type=merge", "-p", patch])
            .collect();
        let entry = |manager: &str, fields: &str| {
            format!(
                r#"[{{"op":"add","path":"/metadata/managedFields/-","value":{{"manager":"{manager}","operation":"Update","apiVersion":"v1","time":"2026-01-31T09:00:00Z","fieldsType":"FieldsV1","fieldsV1":{fields}}}}}]"#
            )
        };
        let labels = r#"{"f:metadata":{"f:labels":{"f:app":{}}}}"#;
        let mixed = r#"{"f:metadata":{"f:annotations":{"f:apicred.dev/token-updated-at":{},"f:owner":{}}}}"#;
        let other = r#"[{"op":"replace","path":"/metadata/managedFields/0/manager","value":"x"},{"op":"replace","path":"/metadata/managedFields/1/manager","value":"y"}]"#;
        let owners = [
            entry("other", labels),
            entry("apicred", labels),
            entry("apicred", mixed),
            other.to_owned(),
        ];
        for patch in &owners {
            let manager = "--field-manager=apicred";
            attempts.push(vec![
                "patch",
                "pod",
                "p",
                "--type=json",
                manager,
                "-p",
                patch,
            ]);
        }
        let status = r#"{"status":{"phase":"Failed"}}"#;
        let container =
            r#"{"spec":{"ephemeralContainers":[{"name":"e","image":"evil.example/x"}]}}"#;
        let binding = format!("/api/v1/namespaces/{}/pods/p/binding", place.namespace);
        let eviction = format!("/api/v1/namespaces/{}/pods/p/eviction", place.namespace);
        let file = |name: &str, body: Value| {
            let path = world.cluster.dir().join(name);
            std::fs::write(&path, body.to_string()).unwrap();
            path.display().to_string()
        };
        let bound = file(
            "binding.json",
            json!({ "apiVersion": "v1", "kind": "Binding", "metadata": { "name": "p" }, "target": { "kind": "Node", "name": "n" } }),
        );
        let evicted = file(
            "eviction.json",
            json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": "p" } }),
        );
        for body in [status, own] {
            let subresource = ["--subresource=status", "--type=merge", "-p", body];
            attempts.push([["patch", "pod", "p"].as_slice(), &subresource].concat());
        }
        attempts.extend([
            vec![
                "patch",
                "pod",
                "p",
                "--subresource=ephemeralcontainers",
                "-p",
                container,
            ],
            vec!["create", "--raw", &binding, "-f", &bound],
            vec!["create", "--raw", &eviction, "-f", &evicted],
            vec!["run", "q", "--image=evil.example/x"],
            vec!["delete", "pod", "p", "--wait=false"],
            vec!["delete", "pods", "--all", "--wait=false"],
            vec!["exec", "p", "--", "sh"],
        ]);
        for args in attempts {
            let refused = attempt(&args).await.expect_err("it was done").to_string();
            assert!(
                refused.contains("apicred-notify-pods") || refused.contains("orbidden"),
                "{args:?}: {refused}"
            );
        }
        let after = pods.get("p").await.unwrap();
        assert_eq!(after, before);
        // The operator's own patch, whoever has set the annotation before, with all managers.
        let set = |time: &str| own.replace("2026-01-31T09:00:00Z", time);
        let names: Vec<String> = (0..24).map(|n| format!("manager-{n}")).collect();
        for (minute, name) in names.iter().enumerate() {
            let manager = format!("--field-manager={name}");
            let mine = format!("{name}=x");
            let noted = format!("apicred.dev/token-updated-at=2026-02-01T00:{minute:02}:00Z");
            let annotate = ["annotate", "pod", "p", "--overwrite", &manager, &noted];
            let mut annotate = [&there[..], &annotate].concat();
            if minute % 2 == 1 {
                annotate.push(&mine);
            }
            world.cluster.kubectl(&annotate).await.unwrap();
            let later = set(&format!("2026-01-31T09:{minute:02}:00.123456789Z"));
            let manager = "--field-manager=apicred";
            attempt(&["patch", "pod", "p", "--type=merge", manager, "-p", &later])
                .await
                .expect("what the operator does");
        }
    });
}
