//! The cost of one request for the API server, by its kind. It explains the numbers of all other scenarios.

use std::{collections::HashMap, future::Future, time::Instant};

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::{core::v1::Secret, events::v1::Event};
use kube::{
    Api,
    api::{DynamicObject, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::{
    Result,
    contender::Contender,
    options::Options,
    report::{Bar, Quantity, Report, real},
    world::{CONCURRENCY, Limits, World},
};

/// Length of a token.
const TOKEN: usize = 1_400;

pub(super) async fn run(options: &Options, own: &Contender, report: &mut Report) -> Result<()> {
    let mut world = World::start(options, own, Limits::Open).await?;
    let objects = options.small();
    world.grow(objects).await?;
    let world = &world;
    let kind = &world.kind().await?;
    let secrets = |number: usize| -> Api<Secret> {
        Api::namespaced(world.admin.clone(), &world.namespace_of(number))
    };
    let credentials = |number: usize| -> Api<DynamicObject> {
        Api::namespaced_with(world.admin.clone(), &world.namespace_of(number), kind)
    };
    let params = || PatchParams {
        field_manager: Some("apicred".to_owned()),
        ..PatchParams::default()
    };
    let mut price = Price {
        world,
        report,
        objects,
    };

    let made = |number: usize| async move {
        let secret: Secret = serde_json::from_value(secret(number, "a"))?;
        secrets(number)
            .create(&PostParams::default(), &secret)
            .await?;
        Ok(())
    };
    price.of("create a Secret", made).await?;
    let read = |number: usize| async move {
        secrets(number).get(&format!("token-{number}")).await?;
        Ok(())
    };
    price.of("get a Secret", read).await?;
    let patched = |number: usize| async move {
        let body = secret(number, "b");
        secrets(number)
            .patch(
                &format!("token-{number}"),
                &params(),
                &Patch::Strategic(body),
            )
            .await?;
        Ok(())
    };
    price.of("patch a Secret (strategic)", patched).await?;
    for (round, what) in ["the first time", "again"].into_iter().enumerate() {
        let applied = |number: usize| async move {
            let body = json!({
                "apiVersion": "apicred.dev/v1alpha1",
                "kind": "ApiCredential",
                "metadata": { "name": format!("load-{number}") },
                "status": status(&format!("apply-{round}")),
            });
            let params = PatchParams::apply("apicred").force();
            credentials(number)
                .patch_status(&format!("load-{number}"), &params, &Patch::Apply(body))
                .await?;
            Ok(())
        };
        price
            .of(&format!("apply a status, {what}"), applied)
            .await?;
    }
    let merged = |number: usize| async move {
        let body = json!({ "status": status("merge") });
        credentials(number)
            .patch_status(&format!("load-{number}"), &params(), &Patch::Merge(body))
            .await?;
        Ok(())
    };
    price.of("merge a status (RFC 7386)", merged).await?;
    // As other operators do: the whole object, as it was read.
    let known = &known(world, &credentials).await?;
    let replaced = |number: usize| async move {
        let mut object = known.get(&number).ok_or("no such object")?.clone();
        object.data["status"] = status("replace");
        credentials(number)
            .replace_status(&format!("load-{number}"), &PostParams::default(), &object)
            .await?;
        Ok(())
    };
    price.of("replace a status", replaced).await?;
    let replaced = |number: usize| async move {
        let secret: Secret = serde_json::from_value(secret(number, "c"))?;
        secrets(number)
            .replace(&format!("token-{number}"), &PostParams::default(), &secret)
            .await?;
        Ok(())
    };
    price.of("replace a Secret", replaced).await?;
    let reported = |number: usize| async move {
        let event: Event = serde_json::from_value(json!({
            "metadata": { "name": format!("load-{number}.0123456789abcdef") },
            "action": "Reconcile",
            "eventTime": "2026-01-01T00:00:00.000000Z",
            "note": "the token is in Secret token until 2026-01-01T00:00:00Z",
            "reason": "TokenPublished",
            "regarding": {
                "apiVersion": "apicred.dev/v1alpha1",
                "kind": "ApiCredential",
                "name": format!("load-{number}"),
                "namespace": world.namespace_of(number),
            },
            "reportingController": "apicred.dev/operator",
            "reportingInstance": "bench",
            "type": "Normal",
        }))?;
        let events: Api<Event> = Api::namespaced(world.admin.clone(), &world.namespace_of(number));
        events.create(&PostParams::default(), &event).await?;
        Ok(())
    };
    price.of("create an Event", reported).await
}

/// All objects of the load by their number, as in a cache.
async fn known(
    world: &World,
    credentials: &impl Fn(usize) -> Api<DynamicObject>,
) -> Result<HashMap<usize, DynamicObject>> {
    let mut known = HashMap::new();
    for at in 0..world.all_namespaces().len() {
        for mut object in credentials(at).list(&ListParams::default()).await? {
            object.metadata.managed_fields = None;
            let name = object.metadata.name.as_deref().unwrap_or_default();
            known.insert(name.trim_start_matches("load-").parse()?, object);
        }
    }
    Ok(known)
}

/// Sends requests of one kind and reports their cost.
struct Price<'a> {
    world: &'a World,
    report: &'a mut Report,
    objects: usize,
}

impl Price<'_> {
    async fn of<F: Future<Output = Result<()>>>(
        &mut self,
        what: &str,
        request: impl Fn(usize) -> F,
    ) -> Result<()> {
        let row = ("requests", "bare");
        let (before, began) = (self.world.server_usage()?, Instant::now());
        stream::iter(0..self.objects)
            .map(request)
            .buffer_unordered(CONCURRENCY)
            .try_collect::<Vec<()>>()
            .await?;
        let seconds = began.elapsed().as_secs_f64();
        let cpu = self.world.server_usage()?.cpu - before.cpu;
        let each = cpu * 1e3 / real(self.objects);
        self.report.add(
            row,
            format!("{what}: API server's CPU"),
            Quantity::milliseconds(each),
            Bar::None,
        );
        let speed = real(self.objects) / seconds;
        self.report.add(
            row,
            format!("{what}: speed"),
            Quantity::per_second(speed),
            Bar::None,
        );
        Ok(())
    }
}

/// A Secret as the operator writes it.
fn secret(number: usize, salt: &str) -> Value {
    let token = format!("{salt}.{}", "x".repeat(TOKEN));
    let note = |name: &str| {
        (
            format!("apicred.dev/{name}"),
            json!(format!("{salt}{:040}", 0)),
        )
    };
    let notes: serde_json::Map<String, Value> = [
        "issued-at",
        "expires-at",
        "renew-at",
        "renew-reason",
        "lifetime",
        "request",
        "fingerprint",
        "token-digest",
        "sources",
    ]
    .map(note)
    .into_iter()
    .collect();
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": format!("token-{number}"),
            "labels": { "app.kubernetes.io/managed-by": "apicred" },
            "annotations": notes,
        },
        "stringData": {
            "token": token,
            "token_type": "Bearer",
            "expires_at": "2026-01-01T00:00:00Z",
            "token.json": format!("{{\"access_token\":\"{token}\"}}"),
        },
    })
}

/// A status as the operator writes it.
fn status(salt: &str) -> Value {
    let condition = |kind: &str, status: &str| {
        json!({
            "type": kind,
            "status": status,
            "reason": "TokenPublished",
            "message": "the token is in the Secret until 2026-01-01T00:00:00Z",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
            "observedGeneration": 1,
        })
    };
    json!({
        "observedGeneration": 1,
        "conditions": [condition("Ready", "True")],
        "issuedAt": "2026-01-01T00:00:00Z",
        "expiresAt": "2026-01-01T01:00:00Z",
        "renewAt": "2026-01-01T00:30:00Z",
        "renewReason": "HalfLife",
        "lastAttempt": { "time": "2026-01-01T00:00:00Z", "result": "Succeeded" },
        "client": { "secretRef": { "name": "source", "key": "client-secret" } },
        "tokenId": salt,
    })
}
