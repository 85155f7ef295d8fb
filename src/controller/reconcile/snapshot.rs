//! The data of a scrape of the metrics.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::controller::{
    cache::{packed::PackedCredential, shown::Shown},
    context::Context,
    issuer_checks::Readiness,
    locks::lock,
    requeue::key_of,
};
use crate::{
    Reason,
    api::{ApiPreset, IssuerKind, IssuerStatus},
    telemetry::metrics::{EachCredential, Info, Objects, OneCredential, Snapshot, Work},
};

/// A reason that this version does not know.
const OTHER: &str = "other";

/// The current state of this process. `per_credential`: also for each credential.
pub(in crate::controller) fn snapshot(context: &Arc<Context>, per_credential: bool) -> Snapshot {
    let leads = context.may_act() && context.health.is_leading();
    if !leads {
        return Snapshot::default();
    }
    let synced = context.health.unlisted().is_empty();
    let each = || -> Box<dyn EachCredential> { Box::new(Each::of(context)) };
    Snapshot {
        leads,
        work: Some(work(context)),
        objects: synced.then(|| objects(context)),
        credentials: (synced && per_credential).then(each),
    }
}

fn work(context: &Context) -> Work {
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    let load = context.limiter.load();
    let watches = context.health.watches().into_iter();
    Work {
        overdue_seconds: context.health.overdue(crate::clock::steady()).as_secs(),
        in_flight: count(load.in_flight),
        waiting: count(load.waiting),
        issuers_paused: count(load.paused),
        watches: watches
            .map(|(stream, at)| (stream, at.as_second()))
            .collect(),
    }
}

fn objects(context: &Context) -> Objects {
    let mut objects = Objects::default();
    issuers(context, &mut objects);
    objects.unreadable[3] = u64::try_from(context.clients.unreadable()).unwrap_or(u64::MAX);
    objects.rotations_stopped = context.clients.rotations_stopped();
    let now = context.clock.now().as_second();
    for packed in context.credentials.state() {
        objects.unreadable[0] += u64::from(packed.flaw().is_some());
        count(&mut objects, &packed.shown, now);
    }
    objects
}

fn count(objects: &mut Objects, shown: &Shown, now: i64) {
    let text = |reason: Option<Reason>| reason.map_or(OTHER, Reason::as_str);
    objects.ready[place(shown.ready)] += 1;
    if let Some(reason) = shown.not_ready {
        *objects.not_ready.entry(text(reason)).or_default() += 1;
    }
    if let Some(reason) = shown.failing {
        *objects.failing.entry(text(reason)).or_default() += 1;
    }
    objects.below_minimum += u64::from(shown.below_minimum(now));
    objects.expired += u64::from(shown.expired(now));
    let expiry = shown.expires_at.into_iter();
    objects.soonest_expiry = expiry.chain(objects.soonest_expiry).min();
    if let Some(ended) = shown.client_expired() {
        objects.ending[usize::from(ended)] += 1;
    }
    objects.permissions_missing += u64::from(shown.permissions_missing);
}

fn issuers(context: &Context, objects: &mut Objects) {
    for (kind, readiness) in readiness(context) {
        let at = usize::from(kind == IssuerKind::ClusterTokenIssuer);
        let ready = readiness.and_then(|readiness| readiness.ready);
        objects.issuers[at][place(ready)] += 1;
    }
    // Issuers whose spec is not known are not in the stores.
    for (kind, ..) in lock(&context.unusable).keys() {
        let at = usize::from(*kind == IssuerKind::ClusterTokenIssuer);
        objects.unreadable[1 + at] += 1;
        objects.issuers[at][place(Some(false))] += 1;
    }
}

/// Whether each issuer whose spec is known is ready, according to the checks of this process.
pub(super) fn readiness(context: &Context) -> Vec<(IssuerKind, Option<Readiness>)> {
    let checks = &context.issuer_checks;
    let of = |kind: IssuerKind, meta: &ObjectMeta, status: &Option<IssuerStatus>| {
        let namespace = meta.namespace.clone().unwrap_or_default();
        let name = (kind, namespace, meta.name.clone().unwrap_or_default());
        (kind, checks.readiness(&name, status.as_ref()))
    };
    let own = context.token_issuers.state().into_iter();
    let own = own.map(|i| of(IssuerKind::TokenIssuer, &i.metadata, &i.status));
    let cluster = context.cluster_issuers.state().into_iter();
    let cluster = cluster.map(|i| of(IssuerKind::ClusterTokenIssuer, &i.metadata, &i.status));
    own.chain(cluster).collect()
}

/// The position in `true`, `false`, `unknown`.
fn place(ready: Option<bool>) -> usize {
    ready.map_or(2, |ready| usize::from(!ready))
}

/// All credentials at the time of a scrape. The objects that they refer to are in the index, and are not copied.
struct Each {
    context: Arc<Context>,
    credentials: Vec<Arc<PackedCredential>>,
}

impl Each {
    fn of(context: &Arc<Context>) -> Self {
        Self {
            context: Arc::clone(context),
            credentials: context.credentials.state(),
        }
    }
}

fn one(packed: &PackedCredential) -> OneCredential<'_> {
    let (namespace, name) = packed.name();
    let shown = &packed.shown;
    OneCredential {
        namespace,
        name,
        ready: shown.ready == Some(true),
        expires_at: shown.expires_at,
        renew_at: shown.renew_at,
        min_lifetime: shown.min_lifetime.map(i64::from),
        client_expires_at: shown.client_credential_expires_at,
        client_expiring: shown.client_expires_soon(),
    }
}

impl EachCredential for Each {
    fn each(&self, see: &mut dyn FnMut(&OneCredential<'_>)) {
        for packed in &self.credentials {
            see(&one(packed));
        }
    }

    fn each_info(&self, see: &mut dyn FnMut(&OneCredential<'_>, &Info<'_>)) {
        let index = lock(&self.context.index);
        for packed in &self.credentials {
            let one = one(packed);
            let (issuer, secret) = index.issuer_and_target(&key_of(packed.as_ref()));
            let (issuer_kind, issuer) = match issuer {
                Some((IssuerKind::ClusterTokenIssuer, _, name)) => {
                    ("ClusterTokenIssuer", name.as_str())
                }
                Some((IssuerKind::TokenIssuer, _, name)) => ("TokenIssuer", name.as_str()),
                None if packed.shown.is_static => ("", ""),
                None => ("Entra", ""),
            };
            let api = packed.shown.api.map_or("", ApiPreset::as_str);
            let info = Info {
                issuer_kind,
                issuer,
                api,
                secret,
            };
            see(&one, &info);
        }
    }

    fn each_rotation(&self, see: &mut dyn FnMut([&str; 2], i64)) {
        for (key, at) in self.context.clients.next_rotations() {
            see([key.namespace.as_str(), key.name.as_str()], at);
        }
    }
}
