//! `deploy/argocd`: the health of real objects, computed by the interpreter that Argo CD uses, and the effect of its actions.
//!
//! With `APICRED_WRITE_TESTDATA=1` the objects are written into `deploy/argocd`, where the tests of Argo CD itself expect them.

use std::path::PathBuf;

use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};
use testenv::ArgoScript;

use crate::support::{LATER, Place, World, condition, merge, run, typed, unique};

const KINDS: [&str; 4] = [
    "ApiCredential",
    "ApiClient",
    "TokenIssuer",
    "ClusterTokenIssuer",
];

/// The folder of a kind, in the layout of `resource_customizations` of Argo CD.
pub(crate) fn folder(kind: &str) -> PathBuf {
    deploy()
        .join("resource_customizations/apicred.dev")
        .join(kind)
}

fn deploy() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("deploy/argocd")
}

fn read(path: &PathBuf) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| unreachable!("{}: {e}", path.display()))
}

pub(crate) fn yaml(path: &PathBuf) -> Value {
    serde_saphyr::from_str(&read(path)).unwrap_or_else(|e| unreachable!("{}: {e}", path.display()))
}

/// The source of the message of a health.
enum Scripted {
    Waiting,
    Suspended,
    /// The message of this condition.
    Of(&'static str),
    /// The message of `Ready`, and why the renewal fails.
    Failing(&'static str),
}

impl Scripted {
    fn of(&self, object: &Value) -> String {
        let message = |kind: &str| {
            let conditions = object["status"]["conditions"].as_array();
            let found = conditions.into_iter().flatten().find(|c| c["type"] == kind);
            let message = found.and_then(|c| c["message"].as_str());
            message.expect("a condition with a message").to_owned()
        };
        match self {
            Self::Waiting => "Waiting for apicred".to_owned(),
            Self::Suspended => "spec.suspend is set".to_owned(),
            Self::Of(kind) => message(kind),
            Self::Failing(reason) => format!("{}; the renewal fails: {reason}", message("Ready")),
        }
    }
}

/// A real object in some state, and its health.
struct Case {
    /// Name of the file with it.
    file: &'static str,
    object: Value,
    status: &'static str,
    health: Scripted,
}

fn case(
    file: &'static str,
    object: &impl serde::Serialize,
    status: &'static str,
    health: Scripted,
) -> Case {
    let mut object = serde_json::to_value(object).expect("JSON");
    if let Some(meta) = object["metadata"].as_object_mut() {
        meta.remove("managedFields");
    }
    Case {
        file,
        object,
        status,
        health,
    }
}

/// The parts of an object on which the test of a script depends. If they differ between a file and the present object, the file is out of date.
fn shape(object: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let conditions = object["status"]["conditions"].as_array();
    let mut shape: Vec<String> = conditions
        .into_iter()
        .flatten()
        .map(|c| {
            format!(
                "{}={}/{}",
                text(&c["type"]),
                text(&c["status"]),
                text(&c["reason"])
            )
        })
        .collect();
    let current = object["status"]["observedGeneration"] == object["metadata"]["generation"];
    shape.push(format!(
        "current={current} suspend={}",
        object["spec"]["suspend"]
    ));
    shape
}

/// Compares the health of each object with what is expected, and the files with the objects.
async fn assess(place: &Place, kind: &str, cases: &[Case]) {
    let script = folder(kind).join("health.lua");
    let objects: Vec<Value> = cases.iter().map(|c| c.object.clone()).collect();
    let reported = testenv::argo(ArgoScript::Health, &script, &objects).await;
    for (case, reported) in cases.iter().zip(reported.expect("healths")) {
        let expected = json!({ "status": case.status, "message": case.health.of(&case.object) });
        assert_eq!(reported, expected, "{kind} {}", case.file);
    }
    if std::env::var_os("APICRED_WRITE_TESTDATA").is_some() {
        write(place, kind, cases);
    }
    let tests = yaml(&folder(kind).join("health_test.yaml"));
    let tests = tests["tests"].as_array().cloned().unwrap_or_default();
    assert_eq!(tests.len(), cases.len(), "{kind}: a test for each case");
    for (case, test) in cases.iter().zip(tests) {
        let input = test["inputPath"].as_str().unwrap_or_default();
        assert_eq!(input, format!("testdata/{}.yaml", case.file));
        let object = yaml(&folder(kind).join(input));
        assert_eq!(
            shape(&object),
            shape(&case.object),
            "{kind} {}: out of date, write it with APICRED_WRITE_TESTDATA=1",
            case.file
        );
        let reported = testenv::argo(ArgoScript::Health, &script, &[object]).await;
        assert_eq!(reported.expect("a health"), [test["healthStatus"].clone()]);
    }
}

fn write(place: &Place, kind: &str, cases: &[Case]) {
    let mut tests = Vec::new();
    for case in cases {
        let text = case.object.to_string();
        let text = text.replace(place.issuer.origin(), "https://login.example.com");
        let text = text.replace(&place.namespace, "team-a");
        let object: Value = serde_json::from_str(&text).expect("JSON");
        let input = format!("testdata/{}.yaml", case.file);
        let path = folder(kind).join(&input);
        std::fs::write(path, serde_saphyr::to_string(&object).expect("YAML")).expect("a file");
        tests.push(json!({
            "healthStatus": { "status": case.status, "message": case.health.of(&object) },
            "inputPath": input,
        }));
    }
    let tests = serde_saphyr::to_string(&json!({ "tests": tests })).expect("YAML");
    std::fs::write(folder(kind).join("health_test.yaml"), tests).expect("a file");
}

#[test]
fn argo_cd_sees_the_health_of_a_credential() {
    run(async {
        let world = World::shared().await;
        let place = world.place("argocd").await;
        let target = |name: &str| json!({ "target": { "secretName": name } });
        let new = place.create("shop", target("shop-token")).await;
        place.ready("shop").await;
        let get = async |name: &str| place.credentials().get(name).await.expect("it is there");
        let healthy = get("shop").await;

        let missing = json!([{ "name": "late", "key": "client-secret" }]);
        let late = merge(
            target("late-token"),
            json!({ "client": { "secrets": missing } }),
        );
        place.create("late", late).await;
        place.not_ready("late", "ClientSecretMissing").await;
        place.put_secret("taken", "key", &unique()).await;
        place.create("clash", target("taken")).await;
        place.not_ready("clash", "SecretNotOwned").await;
        let suspended = merge(target("asleep-token"), json!({ "suspend": true }));
        let never_seen = place.create("asleep", suspended).await;
        place.not_ready("asleep", "Suspended").await;
        let past = json!({ "notAfter": "2026-01-31T18:00:00Z" });
        let over = merge(target("over-token"), past);
        place.create("over", over).await;
        place.not_ready("over", "Ended").await;

        let (source, params) = ("source", DeleteParams::default());
        place
            .secrets()
            .delete(source, &params)
            .await
            .expect("it goes");
        place
            .until("shop", "a renewal that will fail", |c| {
                condition(c, "RenewalFailing")
            })
            .await;
        let failing = get("shop").await;
        let edited = place
            .edit("shop", json!({ "spec": { "minLifetime": "2m" } }))
            .await;
        let cases = [
            case("new", &new, "Progressing", Scripted::Waiting),
            case("edited", &edited, "Progressing", Scripted::Waiting),
            case(
                "secret_missing",
                &get("late").await,
                "Progressing",
                Scripted::Of("Ready"),
            ),
            case("healthy", &healthy, "Healthy", Scripted::Of("Ready")),
            case(
                "renewal_failing",
                &failing,
                "Healthy",
                Scripted::Failing("ClientSecretMissing"),
            ),
            case(
                "degraded",
                &get("clash").await,
                "Degraded",
                Scripted::Of("Stalled"),
            ),
            case(
                "suspended",
                &get("asleep").await,
                "Suspended",
                Scripted::Suspended,
            ),
            case(
                "suspended_new",
                &never_seen,
                "Progressing",
                Scripted::Waiting,
            ),
            case(
                "ended",
                &get("over").await,
                "Suspended",
                Scripted::Of("Ready"),
            ),
        ];
        assess(&place, "ApiCredential", &cases).await;
    });
}

#[test]
fn argo_cd_sees_the_health_of_a_client() {
    run(async {
        let world = World::shared().await;
        let place = world.place("argocd-client").await;
        let get = async |name: &str| place.clients().get(name).await.expect("it is there");
        place.put_client("crm", json!({})).await;
        place
            .until_client_reports("crm", "True", "ClientValid")
            .await;
        let missing = json!({ "secrets": [{ "name": "late", "key": "k" }] });
        place.put_client("late", missing).await;
        place
            .until_client_reports("late", "False", "ClientSecretMissing")
            .await;
        place
            .put_client("blank", json!({ "id": "\u{a0}crm" }))
            .await;
        place
            .until_client_reports("blank", "False", "InvalidSpec")
            .await;
        let cases = [
            case(
                "healthy",
                &get("crm").await,
                "Healthy",
                Scripted::Of("Ready"),
            ),
            case(
                "secret_missing",
                &get("late").await,
                "Progressing",
                Scripted::Of("Ready"),
            ),
            case(
                "degraded",
                &get("blank").await,
                "Degraded",
                Scripted::Of("Stalled"),
            ),
        ];
        assess(&place, "ApiClient", &cases).await;
    });
}

/// Issuers of one kind: the states are those of their specs.
async fn issuers(place: &Place, kind: &str) -> Vec<Case> {
    let object = |name: &str, spec: &Value| {
        json!({
            "apiVersion": "apicred.dev/v1alpha1", "kind": kind,
            "metadata": { "name": format!("{}-{name}", place.namespace) }, "spec": spec,
        })
    };
    let (mut good, nowhere) = (
        json!({ "oauth2": { "tokenUrl": place.issuer.generic_token_url() }, "caBundle": place.issuer.ca_pem() }),
        json!({ "oidc": { "issuerUrl": "https://login.invalid" } }),
    );
    // The rules of the CRD cannot read it.
    let mut wrong = nowhere.clone();
    wrong["caBundle"] = json!("-----BEGIN CERTIFICATE-----");
    if kind == "ClusterTokenIssuer" {
        good["allowedNamespaces"] = json!({ "names": [place.namespace] });
        good["network"] = json!({ "allowedCidrs": ["127.0.0.0/8"] });
    }
    let api: kube::Api<kube::api::DynamicObject> = {
        let gvk = kube::core::GroupVersionKind::gvk("apicred.dev", "v1alpha1", kind);
        let resource = kube::api::ApiResource::from_gvk(&gvk);
        if kind == "TokenIssuer" {
            kube::Api::namespaced_with(place.kube.clone(), &place.namespace, &resource)
        } else {
            kube::Api::all_with(place.kube.clone(), &resource)
        }
    };
    let mut made = Vec::new();
    for (name, spec) in [("good", &good), ("nowhere", &nowhere), ("wrong", &wrong)] {
        let object = typed(object(name, spec));
        let new = api.create(&PostParams::default(), &object).await;
        let new = new.expect("an issuer");
        let name = new.metadata.name.clone().unwrap_or_default();
        let seen = testenv::eventually(LATER, format!("{name} is assessed"), async || {
            let seen = api.get(&name).await.map_err(|e| e.to_string())?;
            let current = seen.data["status"]["observedGeneration"] == 1;
            current
                .then(|| seen.clone())
                .ok_or_else(|| format!("{seen:?}"))
        });
        made.push((new.clone(), seen.await));
        let deleted = api.delete(&name, &DeleteParams::default()).await;
        deleted.expect("it goes");
    }
    vec![
        case("new", &made[0].0, "Progressing", Scripted::Waiting),
        case("healthy", &made[0].1, "Healthy", Scripted::Of("Ready")),
        case(
            "unreachable",
            &made[1].1,
            "Progressing",
            Scripted::Of("Ready"),
        ),
        case("degraded", &made[2].1, "Degraded", Scripted::Of("Stalled")),
    ]
}

#[test]
fn argo_cd_sees_the_health_of_an_issuer() {
    run(async {
        let world = World::shared().await;
        let place = world.place("argocd-issuer").await;
        for kind in ["TokenIssuer", "ClusterTokenIssuer"] {
            let cases = issuers(&place, kind).await;
            assess(&place, kind, &cases).await;
        }
        let script = |kind: &str| read(&folder(kind).join("health.lua"));
        assert_eq!(script("TokenIssuer"), script("ClusterTokenIssuer"));
        assert_eq!(script("ApiClient"), script("ClusterTokenIssuer"));
    });
}

#[test]
fn the_config_map_for_argo_cd_has_the_scripts() {
    let map = yaml(&deploy().join("argocd-cm.yaml"));
    let data = map["data"].as_object().expect("data");
    assert_eq!(data.len(), KINDS.len() + 1, "{:?}", data.keys());
    for kind in KINDS {
        let key = format!("resource.customizations.health.apicred.dev_{kind}");
        let script = read(&folder(kind).join("health.lua"));
        assert_eq!(data[&key].as_str(), Some(script.as_str()), "{key}");
    }
    let actions = data["resource.customizations.actions.apicred.dev_ApiCredential"].as_str();
    let actions: Value = serde_saphyr::from_str(actions.expect("actions")).expect("YAML");
    let script = |path: &str| json!(read(&folder("ApiCredential").join("actions").join(path)));
    assert_eq!(actions["discovery.lua"], script("discovery.lua"));
    let definitions = actions["definitions"].as_array().expect("definitions");
    assert_eq!(definitions.len(), 3);
    for definition in definitions {
        let name = definition["name"].as_str().unwrap_or_default();
        assert_eq!(
            definition["action.lua"],
            script(&format!("{name}/action.lua"))
        );
    }
}
