//! The endpoints on which a machine issues tokens of its managed identities.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use dev_issuer::{
    AppService, AuthMethod, AzureArc, Config, DevIssuer, Effect, Fault, IdentityEndpoints,
    ManagedIdentity, Secret, Surface,
};
use reqwest::header::{HeaderName, HeaderValue};

use crate::support::{Bench, Reply};

pub(crate) const OWN: &str = "00000000-0000-4000-8000-0000000000f1";
pub(crate) const GIVEN: &str = "00000000-0000-4000-8000-0000000000f2";
const GIVEN_RESOURCE: &str = "/userAssignedIdentities/demo-identity";
const HEADER: &str = "canary-identity-header";
const REQUEST: &str = "api-version=2018-02-01&resource=api://demo";
pub(crate) const MEANT: (&str, &str) = ("metadata", "true");

pub(crate) fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

pub(crate) async fn bench(folder: &Path) -> Bench {
    let identity = IdentityEndpoints {
        imds: Some(anywhere()),
        app_service: Some(AppService {
            listen: anywhere(),
            header: Secret::new(HEADER),
        }),
        arc: Some(AzureArc {
            listen: anywhere(),
            key_folder: folder.join("tokens"),
            ignores_choice: false,
        }),
    };
    Bench::with(machine(identity)).await
}

/// A machine with an identity of its own and one that was given to it.
pub(crate) fn machine(identity: IdentityEndpoints) -> Config {
    let own = ManagedIdentity::system_assigned(OWN, "/virtualMachines/demo-machine");
    let given = ManagedIdentity::user_assigned(GIVEN, GIVEN_RESOURCE);
    Config {
        identity,
        managed_identities: vec![
            own.role("demo", "Records.Read"),
            given.role("demo", "Records.Write"),
        ],
        ..Config::default()
    }
}

pub(crate) async fn get(bench: &Bench, url: &str, query: &str, headers: &[(&str, &str)]) -> Reply {
    let mut request = bench.http.get(format!("{url}?{query}"));
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        request = request.header(name, HeaderValue::from_str(value).unwrap());
    }
    Reply::of(request.send().await.unwrap()).await
}

async fn imds(bench: &Bench, query: &str) -> Reply {
    get(bench, &bench.issuer.imds_url().unwrap(), query, &[MEANT]).await
}

fn number(reply: &Reply, field: &str) -> i64 {
    let json = reply.json();
    let text = json[field]
        .as_str()
        .unwrap_or_else(|| panic!("{field} is no string: {reply:?}"));
    text.parse().unwrap()
}

#[tokio::test]
async fn the_metadata_service_issues_tokens_that_the_api_accepts() {
    let folder = tempfile::tempdir().unwrap();
    let bench = bench(folder.path()).await;
    let reply = imds(&bench, REQUEST).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let json = reply.json();
    assert_eq!(json["token_type"], "Bearer");
    assert_eq!(json["refresh_token"], "");
    assert_eq!(json["resource"], "api://demo");
    assert_eq!(json["client_id"], OWN);
    let claims = bench.issuer.validate(&reply.token()).unwrap();
    assert_eq!(number(&reply, "expires_on"), claims.exp);
    assert_eq!(number(&reply, "not_before"), claims.nbf);
    let left = number(&reply, "expires_in");
    assert!((86_390..=86_400).contains(&left), "{left}");
    assert_eq!(claims.roles, ["Records.Read"]);
    assert_eq!(claims.oid.as_deref(), Some(claims.sub.as_str()));
    assert!(
        claims
            .xms_mirid
            .unwrap()
            .ends_with("virtualMachines/demo-machine")
    );
    let call = bench.call("/api/demo/records", &reply.token()).await;
    assert_eq!(call.status, 200, "{call:?}");
    let call = bench.call("/api/demo/records/write", &reply.token()).await;
    assert_eq!(call.status, 403, "{call:?}");

    let request = &bench.issuer.token_requests_of(OWN)[0];
    assert_eq!(request.path, "/metadata/identity/oauth2/token");
    assert_eq!(request.auth_method, AuthMethod::Metadata);
    assert_eq!(request.resource.as_deref(), Some("api://demo"));
    assert_eq!((request.status, &request.uti), (Some(200), &claims.uti));
}

#[tokio::test]
async fn an_identity_is_chosen_by_any_of_its_ids() {
    let folder = tempfile::tempdir().unwrap();
    let bench = bench(folder.path()).await;
    let by_client = imds(&bench, &format!("{REQUEST}&client_id={GIVEN}")).await;
    let claims = bench.issuer.validate(&by_client.token()).unwrap();
    assert_eq!(claims.roles, ["Records.Write"]);
    let object_id = claims.oid.unwrap();
    let resource_id = claims.xms_mirid.unwrap();
    for choice in [
        format!("object_id={object_id}"),
        format!("msi_res_id={resource_id}"),
    ] {
        let reply = imds(&bench, &format!("{REQUEST}&{choice}")).await;
        assert_eq!(reply.json()["client_id"], GIVEN, "{choice}");
    }

    for (query, error, text) in [
        (
            format!("{REQUEST}&client_id=00000000-0000-4000-8000-000000000000"),
            "invalid_request",
            "Identity not found",
        ),
        (
            format!("{REQUEST}&client_id={GIVEN}&object_id={object_id}"),
            "invalid_request",
            "one way only",
        ),
        (
            "api-version=2018-02-01".to_owned(),
            "invalid_request",
            "'resource'",
        ),
        (
            "resource=api://demo".to_owned(),
            "invalid_request",
            "'api-version'",
        ),
        (
            "api-version=2017-01-01&resource=api://demo".to_owned(),
            "invalid_request",
            "not supported",
        ),
        (
            format!("{REQUEST}&resource=api://demo"),
            "invalid_request",
            "malformed",
        ),
        (
            "api-version=2018-02-01&resource=api://nobody".to_owned(),
            "invalid_resource",
            "AADSTS500011",
        ),
    ] {
        let reply = imds(&bench, &query).await;
        assert_eq!(reply.status, 400, "{query}");
        assert_eq!(reply.json()["error"], error, "{query}");
        let description = reply.json()["error_description"].to_string();
        assert!(description.contains(text), "{query}: {description}");
    }

    // Without an identity of its own and with several others, the machine cannot know which one is meant.
    bench.issuer.remove_managed_identity(OWN);
    assert_eq!(imds(&bench, REQUEST).await.json()["client_id"], GIVEN);
    let third = ManagedIdentity::user_assigned("00000000-0000-4000-8000-0000000000f3", "/third");
    bench.issuer.add_managed_identity(third).unwrap();
    let reply = imds(&bench, REQUEST).await;
    let description = reply.json()["error_description"].to_string();
    assert!(description.contains("Multiple user assigned"), "{reply:?}");
    assert_eq!(reply.status, 400);
}

#[tokio::test]
async fn malformed_requests_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let bench = bench(folder.path()).await;
    let issuer = &bench.issuer;
    for url in [issuer.imds_url().unwrap(), issuer.arc_url().unwrap()] {
        for headers in [
            &[][..],
            &[("metadata", "false")],
            &[MEANT, ("x-forwarded-for", "192.0.2.1")],
        ] {
            let reply = get(&bench, &url, REQUEST, headers).await;
            assert_eq!(reply.status, 400, "{url} {headers:?}");
            assert_eq!(reply.json()["error"], "invalid_request");
        }
        let post = bench.http.post(format!("{url}?{REQUEST}"));
        let reply = Reply::of(post.header(MEANT.0, MEANT.1).send().await.unwrap()).await;
        assert_eq!(reply.status, 405);
    }
    assert_eq!(issuer.stats().tokens_issued, 0);
}

#[tokio::test]
async fn the_same_token_comes_until_its_end_is_near() {
    let folder = tempfile::tempdir().unwrap();
    let bench = bench(folder.path()).await;
    let short = ManagedIdentity::system_assigned(OWN, "/own").lifetime(Duration::from_secs(5));
    bench.issuer.add_managed_identity(short).unwrap();
    let first = imds(&bench, REQUEST).await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let again = imds(&bench, REQUEST).await;
    assert_eq!(first.token(), again.token());
    assert_eq!(
        number(&first, "expires_on"),
        number(&again, "expires_on"),
        "one end"
    );
    assert!(number(&first, "expires_in") > number(&again, "expires_in"));
    let other = imds(
        &bench,
        &REQUEST.replace("api://demo", "https://graph.microsoft.com"),
    )
    .await;
    assert_ne!(first.token(), other.token());
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_ne!(first.token(), imds(&bench, REQUEST).await.token());

    let before = imds(&bench, REQUEST).await.token();
    bench.issuer.forget_identity_tokens();
    assert_ne!(before, imds(&bench, REQUEST).await.token());
}

#[tokio::test]
async fn the_metadata_service_fails_as_scripted() {
    let folder = tempfile::tempdir().unwrap();
    let bench = bench(folder.path()).await;
    for status in [404, 410, 429, 500] {
        let fault = Fault::new(Effect::Status {
            status,
            body: None,
            retry_after: None,
        });
        let fault = fault.on(Surface::Identity).client(OWN).times(1);
        bench.issuer.fault(fault);
        assert_eq!(imds(&bench, REQUEST).await.status, status);
        assert_eq!(imds(&bench, REQUEST).await.status, 200);
    }
    bench
        .issuer
        .fault(Fault::new(Effect::Drop).on(Surface::Identity).times(1));
    let url = format!("{}?{REQUEST}", bench.issuer.imds_url().unwrap());
    let request = bench.http.get(url).header(MEANT.0, MEANT.1);
    assert!(request.send().await.is_err());
    // A fault of the token endpoints is none of the machine's.
    bench.issuer.fault(Fault::new(Effect::Drop));
    assert_eq!(imds(&bench, REQUEST).await.status, 200);
}

#[tokio::test]
async fn app_service_wants_its_header() {
    let folder = tempfile::tempdir().unwrap();
    let bench = bench(folder.path()).await;
    let url = bench.issuer.app_service_url().unwrap();
    let fields = "api-version=2019-08-01&resource=api://demo";
    let right = [("x-identity-header", HEADER)];
    for headers in [
        &[][..],
        &[("x-identity-header", "canary-identity-heade")],
        &[MEANT],
    ] {
        let reply = get(&bench, &url, fields, headers).await;
        assert_eq!(reply.status, 401, "{headers:?}");
        assert_eq!(reply.json()["statusCode"], 401);
    }
    let reply = get(&bench, &url, fields, &right).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let claims = bench.issuer.validate(&reply.token()).unwrap();
    assert_eq!(number(&reply, "expires_on"), claims.exp);
    assert_eq!(reply.json()["client_id"], OWN);
    assert_eq!(reply.json().get("expires_in"), None);
    let query = format!("{fields}&mi_res_id={GIVEN_RESOURCE}");
    let given = get(&bench, &url, &query, &right).await;
    assert_eq!(given.json()["client_id"], GIVEN);

    for (query, status) in [
        ("api-version=2018-02-01&resource=api://demo", 400),
        ("api-version=2019-08-01", 400),
        ("api-version=2019-08-01&resource=api://nobody", 500),
    ] {
        let reply = get(&bench, &url, query, &right).await;
        assert_eq!(reply.status, status, "{query}");
        assert_eq!(reply.json()["statusCode"], status, "{query}");
    }
    let records = bench.issuer.requests();
    let method = |i: usize| records[i].auth_method;
    assert_eq!(
        (method(0), method(3)),
        (AuthMethod::None, AuthMethod::IdentityHeader)
    );
    let text = serde_json::to_string(&records).unwrap();
    assert!(!text.contains(HEADER) && !text.contains(&reply.token()));
    assert!(!format!("{:?}", app_service_of_a_file(folder.path())).contains(HEADER));
}

/// The settings of a config file as the library reads them.
fn app_service_of_a_file(folder: &Path) -> AppService {
    let yaml = format!(
        "identity:\n  appService: {{listen: '127.0.0.1:0', header: {{value: {HEADER}}}}}\n  arc: {{listen: \
         '127.0.0.1:0', keyFolder: {}}}\nmanagedIdentities: [{{clientId: {GIVEN}, resourceId: /x}}]\n",
        folder.display()
    );
    let config = Config::from_yaml(&yaml).unwrap();
    assert_eq!(config.managed_identities[0].lifetime_seconds, 86_400);
    config.identity.app_service.unwrap()
}

#[tokio::test]
async fn endpoints_that_anyone_could_reach_are_refused() {
    for (yaml, field) in [
        ("identity: {imds: '0.0.0.0:0'}", "identity.imds"),
        (
            "identity: {appService: {listen: '192.0.2.1:80', header: {value: x}}}",
            "identity.appService.listen",
        ),
        (
            "identity: {appService: {listen: '127.0.0.1:0', header: {value: ''}}}",
            "identity.appService.header.value",
        ),
        (
            "managedIdentities: [{clientId: x, resourceId: /x}]",
            "managedIdentities[0].clientId",
        ),
        (
            "managedIdentities: [{clientId: 00000000-0000-4000-8000-0000000000f3, resourceId: /x, roles: {demo: [No]}}]",
            "managedIdentities[0].roles.demo",
        ),
    ] {
        let error = Config::from_yaml(yaml).unwrap_err().to_string();
        assert!(error.contains(&format!("{field}: ")), "{error}");
    }
    let error = Config::from_yaml("identity: {appService: {listen: '127.0.0.1:0', header: leaky}}");
    let error = error.unwrap_err().to_string();
    assert!(!error.contains("leaky"), "{error}");

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let identity = IdentityEndpoints {
        arc: Some(AzureArc {
            listen: anywhere(),
            key_folder: file,
            ignores_choice: false,
        }),
        ..IdentityEndpoints::default()
    };
    let started = DevIssuer::start(Config {
        identity,
        ..Config::default()
    });
    let error = started.await.unwrap_err().to_string();
    assert!(error.contains("identity.arc.keyFolder"), "{error}");
}
