//! What the tests require of a control plane.

use std::time::Duration;

use testenv::{Component, ControlPlane, Options, eventually};

const SOON: Duration = Duration::from_secs(30);

const READER: &str = "
apiVersion: v1
kind: ServiceAccount
metadata: { name: reader, namespace: default }
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: { name: reader, namespace: default }
rules: [{ apiGroups: [''], resources: [configmaps], verbs: [get, list] }]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: { name: reader, namespace: default }
roleRef: { apiGroup: rbac.authorization.k8s.io, kind: Role, name: reader }
subjects: [{ kind: ServiceAccount, name: reader, namespace: default }]
";

async fn start() -> ControlPlane {
    ControlPlane::start(Options::default())
        .await
        .expect("a control plane starts")
}

async fn exists(cluster: &ControlPlane, kind: &str, name: &str) -> bool {
    let args = ["get", kind, name, "--ignore-not-found", "-o", "name"];
    !cluster
        .kubectl(&args)
        .await
        .expect("kubectl get")
        .is_empty()
}

#[tokio::test]
async fn a_service_account_has_exactly_the_rights_of_its_role() {
    let cluster = start().await;
    cluster.kubectl_apply(READER).await.unwrap();
    let hour = Duration::from_hours(1);
    let config = cluster
        .service_account_kubeconfig("default", "reader", hour)
        .await
        .unwrap();

    let user = cluster
        .kubectl_as(&config, &["auth", "whoami", "-o", "json"])
        .await
        .unwrap();
    assert!(
        user.contains("system:serviceaccount:default:reader"),
        "{user}"
    );
    // The controller manager publishes the server's authority in every namespace.
    eventually(SOON, "kube-root-ca.crt as the role's owner", async || {
        cluster
            .kubectl_as(&config, &["get", "configmap", "kube-root-ca.crt"])
            .await
    })
    .await;
    for refused in [
        &["get", "secrets"][..],
        &["get", "configmaps", "-n", "kube-system"],
        &["create", "configmap", "mine"],
    ] {
        let error = cluster
            .kubectl_as(&config, refused)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.to_lowercase().contains("forbidden"),
            "{refused:?}: {error}"
        );
    }
    let admin = cluster
        .kubectl(&["auth", "can-i", "*", "*", "--all-namespaces"])
        .await
        .unwrap();
    assert_eq!(admin.trim(), "yes");
}

#[tokio::test]
async fn a_token_for_a_missing_account_is_refused_with_a_message() {
    let cluster = start().await;
    let hour = Duration::from_hours(1);
    let error = cluster
        .service_account_kubeconfig("default", "ghost", hour)
        .await
        .unwrap_err();
    let message = error.to_string();
    assert!(
        message.contains("default/ghost") && message.contains("not found"),
        "{message}"
    );
}

#[tokio::test]
async fn what_an_owner_leaves_behind_is_collected() {
    let cluster = start().await;
    cluster
        .kubectl(&["create", "configmap", "owner"])
        .await
        .unwrap();
    let uid = cluster
        .kubectl(&[
            "get",
            "configmap",
            "owner",
            "-o",
            "jsonpath={.metadata.uid}",
        ])
        .await
        .unwrap();
    cluster
        .kubectl_apply(&format!(
            "apiVersion: v1
kind: ConfigMap
metadata:
  name: child
  namespace: default
  ownerReferences: [{{ apiVersion: v1, kind: ConfigMap, name: owner, uid: {uid} }}]
"
        ))
        .await
        .unwrap();
    assert!(exists(&cluster, "configmap", "child").await);
    cluster
        .kubectl(&["delete", "configmap", "owner"])
        .await
        .unwrap();
    eventually(SOON, "the child's end", async || {
        !exists(&cluster, "configmap", "child").await
    })
    .await;
}

#[tokio::test]
async fn a_deleted_namespace_goes_with_all_that_is_in_it() {
    let cluster = start().await;
    cluster
        .kubectl(&["create", "namespace", "short"])
        .await
        .unwrap();
    cluster
        .kubectl(&[
            "create",
            "secret",
            "generic",
            "in-it",
            "-n",
            "short",
            "--from-literal=a=b",
        ])
        .await
        .unwrap();
    cluster
        .kubectl(&["delete", "namespace", "short", "--wait=false"])
        .await
        .unwrap();
    eventually(SOON, "the namespace's end", async || {
        !exists(&cluster, "namespace", "short").await
    })
    .await;
}

#[tokio::test]
async fn two_control_planes_know_nothing_of_each_other() {
    let (one, two) = tokio::join!(start(), start());
    assert_ne!(one.server_url(), two.server_url());
    one.kubectl(&["create", "namespace", "only-in-one"])
        .await
        .unwrap();
    assert!(exists(&one, "namespace", "only-in-one").await);
    assert!(!exists(&two, "namespace", "only-in-one").await);
    drop(one);
    assert!(exists(&two, "namespace", "default").await);
}

#[tokio::test]
async fn the_api_server_comes_back_with_what_it_held() {
    let mut cluster = start().await;
    cluster.kubectl_apply(READER).await.unwrap();
    let hour = Duration::from_hours(1);
    let config = cluster
        .service_account_kubeconfig("default", "reader", hour)
        .await
        .unwrap();
    let before = (
        cluster.server_url().to_owned(),
        cluster.pid_of(Component::ApiServer),
    );

    cluster.stop_apiserver();
    assert!(
        cluster.kubectl(&["get", "namespaces"]).await.is_err(),
        "it still answers"
    );
    cluster.start_apiserver().await.unwrap();

    assert_eq!(cluster.server_url(), before.0);
    assert_ne!(cluster.pid_of(Component::ApiServer), before.1);
    assert!(exists(&cluster, "serviceaccount", "reader").await);
    // Tokens of before are still good: the keys are the same.
    cluster
        .kubectl_as(&config, &["get", "configmaps"])
        .await
        .unwrap();
    // And the controller manager found its way back.
    cluster
        .kubectl(&["create", "namespace", "later"])
        .await
        .unwrap();
    eventually(
        SOON,
        "the default service account of a new namespace",
        async || {
            cluster
                .kubectl(&["get", "serviceaccount", "default", "-n", "later"])
                .await
        },
    )
    .await;
}

#[tokio::test]
async fn the_audit_log_counts_each_request_once() {
    let cluster = start().await;
    cluster.kubectl_apply(READER).await.unwrap();
    let hour = Duration::from_hours(1);
    let config = cluster
        .service_account_kubeconfig("default", "reader", hour)
        .await
        .unwrap();

    let mark = cluster.audit_mark().unwrap();
    for _ in 0..3 {
        cluster
            .kubectl_as(&config, &["get", "configmap", "nothing"])
            .await
            .unwrap_err();
    }
    cluster
        .kubectl_as(&config, &["get", "secret", "hidden"])
        .await
        .unwrap_err();
    let reader = "system:serviceaccount:default:reader";
    let mine = eventually(SOON, "four requests in the log", async || {
        let mut events = cluster
            .audit_since(mark)
            .map_err(|error| error.to_string())?;
        events.retain(|event| event.user == reader && !event.resource.is_empty());
        if events.len() >= 4 {
            Ok(events)
        } else {
            Err(format!("{} of them", events.len()))
        }
    })
    .await;
    let seen: Vec<_> = mine
        .iter()
        .map(|e| {
            (
                e.verb.as_str(),
                e.resource.as_str(),
                e.name.as_str(),
                e.code,
            )
        })
        .collect();
    let missing = ("get", "configmaps", "nothing", 404);
    assert_eq!(
        seen,
        [missing, missing, missing, ("get", "secrets", "hidden", 403)]
    );
    assert!(
        mine[0].user_agent.starts_with("kubectl"),
        "{}",
        mine[0].user_agent
    );

    let watches = cluster.audit_events(|event| event.verb == "watch").unwrap();
    assert!(!watches.is_empty(), "the controllers watch");
    assert!(watches.iter().all(|event| event.stage == "ResponseStarted"));
}

#[tokio::test]
async fn a_server_that_cannot_start_reports_the_reason() {
    let options = Options {
        apiserver_flags: vec!["--nonsense".to_owned()],
        ..Options::default()
    };
    let error = ControlPlane::start(options)
        .await
        .err()
        .expect("no such flag")
        .to_string();
    assert!(
        error.contains("kube-apiserver") && error.contains("--nonsense"),
        "{error}"
    );
}

#[tokio::test]
async fn without_an_audit_log_nothing_is_counted_as_zero() {
    let options = Options {
        audit: false,
        ..Options::default()
    };
    let cluster = ControlPlane::start(options).await.unwrap();
    assert!(cluster.audit_events(|_| true).is_err());
}

#[tokio::test]
async fn helm_installs_a_chart() {
    let cluster = start().await;
    let chart = cluster.dir().join("chart");
    std::fs::create_dir_all(chart.join("templates")).unwrap();
    std::fs::write(
        chart.join("Chart.yaml"),
        "apiVersion: v2\nname: tiny\nversion: 0.1.0\n",
    )
    .unwrap();
    std::fs::write(
        chart.join("templates/it.yaml"),
        "apiVersion: v1\nkind: ConfigMap\nmetadata: { name: from-{{ .Release.Name }} }\n",
    )
    .unwrap();
    cluster
        .helm(&["install", "trial", &chart.display().to_string()])
        .await
        .unwrap();
    assert!(exists(&cluster, "configmap", "from-trial").await);
}
