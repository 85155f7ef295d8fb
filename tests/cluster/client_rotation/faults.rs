//! Faults of an issuer at each request of a rotation. One operator serves all clients of a kind; each client has its own issuer.

use dev_issuer::{CredentialKind, Effect, Fault, ReplicaLag, RetryAfter, Surface};
use futures::future::join_all;
use kube::ResourceExt;
use serde_json::json;
use testenv::eventually;

use super::{Rig, soon};
use crate::support::{LATER, World, run};

/// Requests to Microsoft Graph in a rotation without faults: the application is read, a credential is added, the application is read
/// before the other one is removed, and once more afterwards.
const REQUESTS: u32 = 5;

/// Token requests with a certificate in a rotation without faults: for the credential, for Graph, and the trials.
const TOKENS: u32 = 6;

/// A fault at one request of a rotation.
struct Case {
    label: String,
    kind: CredentialKind,
    /// So many requests pass before it.
    after: u32,
    fault: Fault,
    lag: ReplicaLag,
}

fn graph(effect: Effect) -> Fault {
    Fault::new(effect).on(Surface::Graph).times(1)
}

/// The fault at Graph.
fn effects() -> [(&'static str, Effect); 4] {
    let conflict = json!({ "error": {
        "code": "Directory_ConcurrencyViolation", "message": "The request conflicts with another one.",
    } });
    let conflict = Effect::Custom {
        status: 409,
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: conflict.to_string(),
    };
    let throttled = Effect::TooManyRequests {
        retry_after: Some(RetryAfter::Seconds(1)),
    };
    // The last two took effect, but the answer is lost.
    [
        ("conflict", conflict),
        ("throttled", throttled),
        ("broken", Effect::ErrorAfter { status: 500 }),
        ("lost", Effect::Drop),
    ]
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case = |label: String, kind, after, fault| {
        cases.push(Case {
            label,
            kind,
            after,
            fault,
            lag: ReplicaLag::default(),
        });
    };
    for (name, effect) in effects() {
        for after in 0..REQUESTS {
            for (kind, of) in [
                (CredentialKind::Secret, "secret"),
                (CredentialKind::Certificate, "cert"),
            ] {
                let label = format!("{of}-{name}-{after}");
                case(label, kind, after, graph(effect.clone()));
            }
        }
        // Only Graph answers with a conflict.
        for after in 0..TOKENS * u32::from(name != "conflict") {
            let label = format!("cert-token-{name}-{after}");
            let fault = Fault::new(effect.clone()).times(1);
            case(label, CredentialKind::Certificate, after, fault);
        }
    }
    let busy = Effect::Status {
        status: 503,
        body: None,
        retry_after: None,
    };
    for (name, effect) in [("busy", busy), ("cut", Effect::Drop)] {
        let fault = Fault::new(effect).times(2);
        case(format!("token-{name}"), CredentialKind::Secret, 2, fault);
    }
    // The replica that is read first does not have the credential for a while.
    for kind in [CredentialKind::Secret, CredentialKind::Certificate] {
        let milliseconds = std::time::Duration::from_millis;
        let lag = ReplicaLag {
            reads: milliseconds(1_000),
            tokens: milliseconds(1_500),
        };
        let label = format!("lag-{kind:?}").to_lowercase();
        cases.push(Case {
            label,
            kind,
            after: 1,
            fault: graph(Effect::Drop),
            lag,
        });
    }
    cases
}

impl Case {
    async fn rig<'w>(&self, world: &'w World) -> (Rig<'w>, String) {
        let rig = Rig::of(world, &self.label, self.kind).await;
        let issuer = &rig.place.issuer;
        let mut fault = self.fault.clone();
        if fault.on == Surface::Token {
            fault = fault.client(rig.app.as_str());
        }
        if self.after > 0 {
            let pass = Fault {
                effect: Effect::None,
                times: Some(self.after),
                ..fault.clone()
            };
            issuer.fault(pass);
        }
        issuer.fault(fault);
        issuer.set_replica_lag(self.lag);
        rig.adopt(&rig.at_issuer(self.kind)[0]).await;
        let request = rig.request().await;
        (rig, request)
    }
}

/// Follows a rotation to its end while the mounted token is used.
async fn follow(case: &Case, rig: &mut Rig<'_>, request: &str) {
    rig.place.any_token("token-a").await;
    rig.place.ready("a").await;
    // There are many readers.
    let reader = rig.reader_each(std::time::Duration::from_millis(300));
    rig.followed_through(request).await;
    rig.is_whole(case.kind, request).await;
    rig.served(reader, &case.label).await;
}

async fn meet_each_fault(kind: CredentialKind) {
    let world = World::own().await;
    let mut cases = cases();
    cases.retain(|case| case.kind == kind);
    let rigs = cases.iter().map(|case| case.rig(&world));
    let mut rigs = join_all(rigs).await;
    // The operator watches all namespaces.
    rigs[0].0.run().await;
    let all = cases.iter().zip(&mut rigs);
    join_all(all.map(|(case, (rig, request))| follow(case, rig, request))).await;
    let operator = rigs[0].0.operator.as_mut().expect("it runs");
    let ended = operator.ended();
    assert!(ended.is_none(), "the operator ended: {ended:?}");
}

#[test]
fn a_fault_at_any_request_of_a_certificate_s_rotation_leaves_one_that_works() {
    run(meet_each_fault(CredentialKind::Certificate));
}

#[test]
fn a_fault_at_any_request_of_a_secret_s_rotation_leaves_one_that_works() {
    run(meet_each_fault(CredentialKind::Secret));
}

#[test]
fn what_an_earlier_rotation_lost_is_removed_and_nothing_of_others() {
    run(async {
        let world = World::own().await;
        let kind = CredentialKind::Secret;
        let mut rig = Rig::with_secret(&world, "swept", soon()).await;
        rig.run().await;
        rig.place.ready("a").await;
        let token = rig.place.ready("graph-rotator").await.token;
        let uid = rig.clients().get("shared").await.expect("it").uid();
        let uid = uid.unwrap_or_default();
        let other = uid.replace(|c: char| c.is_ascii_digit(), "0");
        let add = async |name: String| {
            let (issuer, object) = (&rig.place.issuer, rig.place.issuer.object_id(&rig.app));
            let url = format!("{}/v1.0/applications/{object}/addPassword", issuer.origin());
            let body = json!({ "passwordCredential": { "displayName": name } });
            let call = rig.place.http.post(url).bearer_auth(&token);
            let answer = call.json(&body).send().await.expect("an answer");
            assert_eq!(answer.status(), 200);
        };
        add(format!("apicred/elsewhere/{uid}/7")).await;
        add(format!("apicred/elsewhere/{other}/7")).await;
        add("of a user".to_owned()).await;
        assert_eq!(rig.at_issuer(kind).len(), 4);
        // A new process reads the application first.
        rig.run().await;
        let swept = async || {
            let names = rig.place.issuer.credentials_of(&rig.app).into_iter();
            let names: Vec<_> = names.filter_map(|c| c.display_name).collect();
            let gone = names.len() == 2 && names.iter().all(|name| !name.contains(&uid));
            if gone {
                Ok(())
            } else {
                Err(format!("{names:?}"))
            }
        };
        eventually(LATER, "the orphan is gone".to_owned(), swept).await;
        assert_eq!(rig.at_issuer(kind).len(), 3);
    });
}
