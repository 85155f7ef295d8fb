//! The agent of Azure Arc: a file that only the right callers can read.

use std::path::Path;
use std::time::Duration;

use dev_issuer::{AuthMethod, AzureArc, IdentityEndpoints};

use crate::identity::{GIVEN, MEANT, OWN, anywhere, bench, get, machine};
use crate::support::{Bench, Reply};

/// The file that a challenge names.
fn key_file(challenge: &Reply) -> &Path {
    let header = challenge.header("www-authenticate");
    Path::new(header.strip_prefix("Basic realm=").unwrap())
}

#[tokio::test]
async fn arc_answers_a_caller_that_can_read_its_file_once() {
    let folder = tempfile::tempdir().unwrap();
    let bench = bench(folder.path()).await;
    let url = bench.issuer.arc_url().unwrap();
    let fields = format!("api-version=2020-06-01&resource=api://demo&client_id={GIVEN}");
    let challenge = get(&bench, &url, &fields, &[MEANT]).await;
    assert_eq!(challenge.status, 401);
    let file = key_file(&challenge);
    assert_eq!(
        file.parent().unwrap(),
        folder.path().join("tokens").canonicalize().unwrap()
    );
    assert_eq!(file.extension().unwrap(), "key");
    let content = std::fs::read_to_string(file).unwrap();
    assert!((16..=4096).contains(&content.len()));
    let basic = format!("Basic {content}");

    let wrong = get(
        &bench,
        &url,
        &fields,
        &[MEANT, ("authorization", "Basic x")],
    )
    .await;
    assert_eq!(wrong.status, 401);
    assert_ne!(key_file(&wrong), file, "a fresh challenge");
    let reply = get(&bench, &url, &fields, &[MEANT, ("authorization", &basic)]).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(
        reply.json()["client_id"],
        GIVEN,
        "what was chosen is echoed"
    );
    let claims = bench.issuer.validate(&reply.token()).unwrap();
    assert_eq!(claims.roles, ["Records.Write"]);
    assert!(!file.exists());
    let again = get(&bench, &url, &fields, &[MEANT, ("authorization", &basic)]).await;
    assert_eq!(again.status, 401);

    let methods: Vec<_> = bench.issuer.token_requests_of(GIVEN);
    let methods: Vec<_> = methods.iter().map(|r| (r.auth_method, r.status)).collect();
    assert_eq!(methods[0], (AuthMethod::None, Some(401)));
    assert_eq!(methods[2], (AuthMethod::ArcKey, Some(200)));

    // Files do not pile up, and none is left behind.
    for _ in 0..70 {
        get(&bench, &url, &fields, &[MEANT]).await;
    }
    let count = || {
        std::fs::read_dir(folder.path().join("tokens"))
            .unwrap()
            .count()
    };
    assert_eq!(count(), 64);
    drop(bench);
    for _ in 0..200 {
        if count() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{} key files are left", count());
}

#[tokio::test]
async fn an_old_arc_agent_ignores_the_choice() {
    let folder = tempfile::tempdir().unwrap();
    let identity = IdentityEndpoints {
        arc: Some(AzureArc {
            listen: anywhere(),
            key_folder: folder.path().to_owned(),
            ignores_choice: true,
        }),
        ..IdentityEndpoints::default()
    };
    let bench = Bench::with(machine(identity)).await;
    assert_eq!(bench.issuer.imds_url(), None);
    let url = bench.issuer.arc_url().unwrap();
    let fields = format!("api-version=2019-11-01&resource=api://demo&client_id={GIVEN}");
    let challenge = get(&bench, &url, &fields, &[MEANT]).await;
    let basic = std::fs::read_to_string(key_file(&challenge)).unwrap();
    let basic = format!("Basic {basic}");
    let reply = get(&bench, &url, &fields, &[MEANT, ("authorization", &basic)]).await;
    assert_eq!(reply.json().get("client_id"), None);
    let claims = bench.issuer.validate(&reply.token()).unwrap();
    assert_eq!(claims.client(), Some(OWN));
}
