//! Writers that write the same content repeatedly, or very much at once: pipelines, and users with `--all` (F34, F35).

use std::time::Duration;

use futures::future::join_all;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use testenv::eventually;

use crate::support::{LATER, Place, World, condition, run};

/// The audience of Defender for Cloud Apps at the issuer.
const CLOUD_APPS: &str = "05a65629-4c1b-48c1-a78b-804c4abdd4af";
/// Edits of one object.
const EDITS: usize = 1000;
/// Writers at once.
const WRITERS: usize = 4;
/// How often a pipeline applies existing content.
const ROUNDS: usize = 5;

/// Each edit requests another token than the one before it, as fast as the API server accepts them.
#[test]
fn of_a_thousand_edits_the_last_one_wins_and_few_cost_a_token() {
    run(async {
        let world = World::shared().await;
        let place = world.place("edits").await;
        place.create("c", json!({})).await;
        place.ready("c").await;
        let began = std::time::Instant::now();
        let edit = async |scope: &str| {
            let patch =
                Patch::Merge(json!({ "spec": { "scopes": [format!("{scope}/.default")] } }));
            let credentials = place.credentials();
            credentials
                .patch("c", &PatchParams::default(), &patch)
                .await
        };
        let writer = async |writer: usize| {
            for number in 0..EDITS / WRITERS {
                let scope = ["api://demo", CLOUD_APPS][(number + writer) % 2];
                // Of the writers at exactly the same time, some get a conflict, and do not repeat the write.
                let _ = edit(scope).await;
            }
        };
        join_all((0..WRITERS).map(writer)).await;
        edit("api://demo").await.expect("the last edit but one");
        edit(CLOUD_APPS).await.expect("the last edit");
        let took = began.elapsed();
        let last = eventually(LATER, "the token of the last edit", async || {
            let view = place.view("token").await?;
            let credential = place.credentials().get("c").await;
            let credential = credential.map_err(|e| e.to_string())?;
            let ready = condition(&credential, "Ready").is_some_and(|c| c.status == "True");
            let status = credential.status.unwrap_or_default();
            let current = status.observed_generation == credential.metadata.generation;
            if ready && current && view.claims["aud"] == CLOUD_APPS {
                Ok(view)
            } else {
                Err(format!("{status:?}"))
            }
        })
        .await;
        assert_eq!(place.call("cloudapps", "v1/alerts", &last.token).await, 200);
        world.stays_quiet(&place, Duration::from_secs(2)).await;
        let posts = place.posts();
        let most = EDITS / 4;
        assert!(
            posts <= most,
            "{posts} tokens for {EDITS} edits in {took:?}"
        );
        assert_eq!(
            place.view("token").await.expect("a token").token,
            last.token
        );
    });
}

#[test]
fn a_pipeline_that_applies_the_same_again_and_labels_on_everything_cost_nothing() {
    run(async {
        let world = World::shared().await;
        let place = world.place("gitops").await;
        let manifest = |name: &str| {
            json!({
                "apiVersion": "apicred.dev/v1alpha1",
                "kind": "ApiCredential",
                "metadata": { "name": name, "namespace": place.namespace, "labels": { "app": "shop" } },
                "spec": place.spec(json!({ "target": { "secretName": format!("t-{name}") } })),
            })
            .to_string()
        };
        let (server, client) = (manifest("server"), manifest("client"));
        let file = world
            .cluster
            .dir()
            .join(format!("{}.json", place.namespace));
        std::fs::write(&file, &client).expect("a file");
        let file = file.display().to_string();
        let apply = async || {
            // Without --force-conflicts: a field that apicred took from the pipeline would cause an error.
            world.cluster.kubectl_apply(&server).await.expect("applied");
            let args = ["apply", "-f", &file];
            world.cluster.kubectl(&args).await.expect("applied");
        };
        apply().await;
        let tokens = (place.ready("server").await, place.ready("client").await);
        world.stays_quiet(&place, Duration::from_millis(500)).await;
        let mark = world.mark();
        for _ in 0..ROUNDS {
            apply().await;
        }
        let kubectl = async |args: &[&str]| {
            let in_place = [args, &["--namespace", &place.namespace]].concat();
            world.cluster.kubectl(&in_place).await.expect("it works")
        };
        let diff = kubectl(&["diff", "-f", &file]).await;
        assert_eq!(diff, "", "a pipeline sees a drift");
        for kind in ["apicredentials.apicred.dev", "secrets"] {
            kubectl(&["label", kind, "--all", "audited=yes"]).await;
            kubectl(&["annotate", kind, "--all", "audited-by=somebody"]).await;
        }
        world.stays_quiet(&place, Duration::from_secs(2)).await;
        let writes = world.since(mark, &place).writes();
        assert!(writes.is_empty(), "{writes:?}");
        assert_eq!(place.posts(), 2, "one token each, and no more");
        for (name, before) in [("server", &tokens.0), ("client", &tokens.1)] {
            let now = place.ready(name).await;
            assert_eq!(now.token, before.token);
            assert_eq!(now.labels.get("audited").map(String::as_str), Some("yes"));
        }
        // A pipeline continues from the present content.
        apply().await;
    });
}

#[test]
fn an_edited_status_is_corrected_at_once() {
    run(async {
        let world = World::shared().await;
        let place = world.place("status").await;
        place.create("c", json!({})).await;
        place.ready("c").await;
        // The time of the last change of a condition is omitted, because it differs.
        let reported = async || {
            let there = place.credentials().get("c").await;
            let mut status = there.map(|c| c.status.unwrap_or_default())?;
            for condition in &mut status.conditions {
                condition.last_transition_time.0 = jiff::Timestamp::UNIX_EPOCH;
            }
            Ok::<_, kube::Error>(status)
        };
        let right = reported().await.expect("a status");
        let mut wrong = serde_json::to_value(&right).expect("JSON");
        wrong["expiresAt"] = json!("2040-01-01T00:00:00Z");
        for condition in wrong["conditions"].as_array_mut().expect("conditions") {
            condition["status"] = json!("False");
            condition["reason"] = json!("SaidByHand");
        }
        for _ in 0..2 {
            let edit = Patch::Merge(json!({ "status": wrong }));
            let (credentials, params) = (place.credentials(), PatchParams::default());
            let edited = credentials.patch_status("c", &params, &edit);
            let edited = edited.await.expect("an edit").status.unwrap_or_default();
            assert_ne!(edited.expires_at, right.expires_at);
            eventually(LATER, "the status as it was", async || {
                let there = reported().await.map_err(|e| e.to_string())?;
                if there == right {
                    Ok(())
                } else {
                    Err(format!("{there:?}"))
                }
            })
            .await;
        }
        world.stays_quiet(&place, Duration::from_secs(2)).await;
        assert_eq!(place.posts(), 1);
    });
}

/// One object of each kind, as they are in Git.
fn each_kind(place: &Place) -> String {
    let object = |kind: &str, spec: Value| {
        let namespaced = kind != "ClusterTokenIssuer";
        let mut meta =
            json!({ "name": format!("{}-git", place.namespace), "labels": { "app": "shop" } });
        if namespaced {
            meta["namespace"] = json!(place.namespace);
        }
        json!({ "apiVersion": "apicred.dev/v1alpha1", "kind": kind, "metadata": meta, "spec": spec })
    };
    let name = format!("{}-git", place.namespace);
    let client = json!({
        "issuerRef": { "kind": "ClusterTokenIssuer", "name": name },
        "id": place.client, "secrets": [{ "name": "source", "key": "client-secret" }],
    });
    let credential = json!({
        "clientRef": { "name": name }, "scopes": ["api://demo/.default"], "target": { "secretName": "token" },
    });
    let namespaced = json!({ "oauth2": { "tokenUrl": place.issuer.generic_token_url() }, "caBundle": place.issuer.ca_pem() });
    let objects = [
        object("ClusterTokenIssuer", place.entra_issuer()),
        object("TokenIssuer", namespaced),
        object("ApiClient", client),
        object("ApiCredential", credential),
    ];
    json!({ "apiVersion": "v1", "kind": "List", "items": objects }).to_string()
}

#[test]
fn a_diff_and_an_apply_by_a_second_manager_are_quiet_for_every_kind() {
    run(async {
        let world = World::shared().await;
        let place = world.place("two-managers").await;
        let file = world
            .cluster
            .dir()
            .join(format!("{}.json", place.namespace));
        std::fs::write(&file, each_kind(&place)).expect("a file");
        let file = file.display().to_string();
        let kubectl = async |args: &[&str]| {
            let whole = [args, &["-f", &file]].concat();
            world.cluster.kubectl(&whole).await.expect("it works")
        };
        let second = ["--server-side", "--field-manager", "second"];
        // The client-side form once: kubectl itself writes an annotation at each change from one form to the other.
        kubectl(&["apply"]).await;
        let apply = async || {
            for manager in ["first", "second"] {
                kubectl(&["apply", "--server-side", "--field-manager", manager]).await;
            }
        };
        apply().await;
        let name = format!("{}-git", place.namespace);
        place.ready(&name).await;
        place
            .until_client_reports(&name, "True", "ClientValid")
            .await;
        world.stays_quiet(&place, Duration::from_secs(1)).await;
        // The version of each object.
        let versions = async || {
            let list: Value =
                serde_json::from_str(&kubectl(&["get", "-o", "json"]).await).expect("JSON");
            let items = list["items"].as_array().cloned().unwrap_or_default();
            let seen = |o: &Value| o["status"]["observedGeneration"] == o["metadata"]["generation"];
            assert!(items.len() == 4 && items.iter().all(seen), "{items:?}");
            let version = |o: &Value| o["metadata"]["resourceVersion"].clone();
            items.iter().map(version).collect::<Vec<_>>()
        };
        let before = versions().await;
        apply().await;
        let diff = [
            kubectl(&["diff"]).await,
            kubectl(&[&["diff"], &second[..]].concat()).await,
        ];
        assert_eq!(diff, ["", ""], "a pipeline sees a drift");
        assert_eq!(versions().await, before);
        assert_eq!(place.posts(), 1);
        kubectl(&["delete", "--wait=false"]).await;
    });
}

#[test]
fn kustomize_adapts_every_reference_to_another_object() {
    run(async {
        let world = World::shared().await;
        let references = include_str!("../../deploy/kustomize/name-references.yaml");
        let folder = world.cluster.dir().join("kustomize");
        std::fs::create_dir_all(&folder).expect("a folder");
        let put = |name: &str, text: &str| std::fs::write(folder.join(name), text).expect("a file");
        put("name-references.yaml", references);
        let of = |kind: &str, spec: Value| {
            let meta = json!({ "name": kind.to_lowercase() });
            json!({ "apiVersion": "apicred.dev/v1alpha1", "kind": kind, "metadata": meta, "spec": spec })
        };
        let (mut objects, mut expected) = (Vec::new(), Vec::new());
        for (_, text) in apicred::api::crd::files().expect("the CRDs") {
            let crd: Value = serde_saphyr::from_str(&text).expect("YAML");
            let kind = crd["spec"]["names"]["kind"].as_str().unwrap_or_default();
            let spec =
                &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
            let (made, renamed) = references_of(kind, spec);
            objects.push(of(kind, made));
            expected.push((kind.to_owned(), renamed));
        }
        assert_eq!(objects.len(), 4);
        for kind in ["ConfigMap", "ServiceAccount"] {
            let name = kind.to_lowercase();
            objects.push(json!({ "apiVersion": "v1", "kind": kind, "metadata": { "name": name } }));
        }
        let all: Vec<String> = objects.iter().map(Value::to_string).collect();
        put("all.yaml", &all.join("\n---\n"));
        let generator = json!([{ "name": "secret", "literals": ["a=b"], "options": { "disableNameSuffixHash": true } }]);
        let kustomization = json!({
            "apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "namePrefix": "team-",
            "configurations": ["name-references.yaml"], "resources": ["all.yaml"], "secretGenerator": generator,
        });
        put("kustomization.yaml", &kustomization.to_string());
        let path = folder.display().to_string();
        let built = world.cluster.kubectl(&["kustomize", &path]).await;
        let built = built.expect("a build");
        for (kind, spec) in expected {
            let documents = built
                .split("\n---\n")
                .map(|text| serde_saphyr::from_str::<Value>(text).unwrap_or_default());
            let found = documents.into_iter().find(|o| o["kind"] == kind.as_str());
            assert_eq!(found.expect("the object")["spec"], spec, "{kind}");
        }
    });
}

/// A spec with each reference to another object that a kind has, and the expected spec with the prefix.
fn references_of(kind: &str, schema: &Value) -> (Value, Value) {
    let (mut made, mut renamed) = (json!({}), json!({}));
    for (field, property) in schema["properties"].as_object().into_iter().flatten() {
        if (kind, field.as_str()) == ("ApiCredential", "target") {
            continue;
        }
        let list = property["type"] == "array";
        let inner = if list { &property["items"] } else { property };
        let whom = match field.as_str() {
            "issuerRef" => Some("tokenissuer"),
            "clientRef" => Some("apiclient"),
            "managementRef" => Some("apicredential"),
            "serviceAccount" => Some("serviceaccount"),
            "caBundleRef" => Some("configmap"),
            "secrets" => Some("secret"),
            other if other.ends_with("Ref") => Some("secret"),
            _ => None,
        };
        let has = |name: &str| inner["properties"].get(name).is_some();
        let (of, to) = match whom {
            Some(whom) if has("name") => (
                json!({ "name": whom }),
                json!({ "name": format!("team-{whom}") }),
            ),
            _ if has("secretName") => (
                json!({ "secretName": "secret" }),
                json!({ "secretName": "team-secret" }),
            ),
            _ => references_of(kind, inner),
        };
        if of == json!({}) {
            continue;
        }
        let whole = |value: Value| if list { json!([value]) } else { value };
        made[field] = whole(of);
        renamed[field] = whole(to);
    }
    (made, renamed)
}

#[test]
fn reloader_ignores_a_token_secret_and_an_older_one_is_left_until_its_next_token() {
    run(async {
        const IGNORE: &str = "reloader.stakater.com/ignore";
        let world = World::shared().await;
        let place = world.place("reloader").await;
        place.create("c", json!({})).await;
        let ignore_annotation =
            |view: &crate::support::SecretView| view.annotations.get(IGNORE).cloned();
        let first = place.ready("c").await;
        assert_eq!(ignore_annotation(&first).as_deref(), Some("true"));
        // As an earlier version wrote it.
        place
            .edit_secret(
                "token",
                json!({ "metadata": { "annotations": { IGNORE: null } } }),
            )
            .await;
        world.stays_quiet(&place, Duration::from_secs(1)).await;
        assert_eq!(ignore_annotation(&place.ready("c").await), None);
        place.request_renewal("c").await;
        let second = place.another_token("token", &first).await;
        assert_eq!(ignore_annotation(&second).as_deref(), Some("true"));
        // No administrator needs to allow this key.
        let chosen = json!({ "spec": { "target": { "annotations": { IGNORE: "false" } } } });
        place.edit("c", chosen).await;
        testenv::eventually(LATER, "the user's value", async || {
            ignore_annotation(&place.view("token").await?)
                .filter(|v| v == "false")
                .ok_or_else(|| "not yet".to_owned())
        })
        .await;
        assert_eq!(place.posts(), 2, "an annotation costs no token");
    });
}
