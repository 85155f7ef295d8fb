//! What can be seen without a cluster and without an issuer.

use std::time::Duration;

use apicred::{api::names, oauth::grant};
use clap::{CommandFactory, Parser};
use k8s_openapi::api::core::v1::Secret;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use url::Url;

use crate::{
    Cli, Command,
    callback::{Door, address, redirect_uri},
    page::Page,
    report::Report,
    state::judge,
    timeout,
    wire::uuid,
};

#[test]
fn the_command_line_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn the_command_that_the_operator_names_is_one() {
    let told = grant::sign_in("team/alerts");
    let command = told.split_once("kubectl apicred ").expect("a command").1;
    let words = std::iter::once("kubectl-apicred").chain(command.split(' '));
    let Command::Login(login) = Cli::try_parse_from(words).expect("a command line").command else {
        panic!("another command");
    };
    assert_eq!(login.target.credential, "alerts");
    assert_eq!(login.target.namespace.as_deref(), Some("team"));
}

#[test]
fn flags_that_contradict_each_other_are_refused() {
    for flags in [
        ["--device", "--no-browser"],
        ["--device", "--port=1"],
        ["--timeout=1s", "--device"],
        ["--timeout=x", "--device"],
    ] {
        let words = ["kubectl-apicred", "login", "c"].into_iter().chain(flags);
        assert!(Cli::try_parse_from(words).is_err(), "{flags:?}");
    }
    assert_eq!(timeout("90s"), Ok(Duration::from_secs(90)));
    assert_eq!(timeout("5m"), Ok(Duration::from_mins(5)));
}

#[test]
fn the_browser_comes_back_to_this_machine_only() {
    for good in [
        "http://localhost",
        "http://localhost:8400/callback",
        "http://127.0.0.1/",
        "http://[::1]:1/x",
    ] {
        assert!(redirect_uri(good).is_ok(), "{good}");
    }
    for bad in [
        "https://localhost",
        "http://example.com",
        "http://127.0.0.2/",
        "http://localhost.evil.example",
        "http://x@localhost",
        "http://localhost/?a",
        "x",
    ] {
        assert!(redirect_uri(bad).is_err(), "{bad}");
    }
    let given = |text: &str| Url::parse(text).expect("a URL");
    assert_eq!(address(true, None, 81), "http://localhost:81");
    assert_eq!(address(false, None, 81), "http://127.0.0.1:81/callback");
    assert_eq!(
        address(true, Some(&given("http://127.0.0.1/cb")), 81),
        "http://127.0.0.1:81/cb"
    );
    assert_eq!(
        address(true, Some(&given("http://[::1]")), 81),
        "http://[::1]:81"
    );
}

fn secret(annotations: &Value, more: &Value) -> Secret {
    let mut whole = json!({ "metadata": { "name": "state", "annotations": annotations } });
    if let Some(more) = more.as_object() {
        for (name, value) in more {
            whole[name] = value.clone();
        }
    }
    serde_json::from_value(whole).expect("a Secret")
}

#[test]
fn a_secret_of_somebody_else_is_left_alone() {
    let none = json!({});
    #[rustfmt::skip]
    let cases = [
        (json!({ (names::STATE_OF): "c" }), none.clone(), true, true),
        (json!({ (names::STATE_OF): "other" }), none.clone(), false, true),
        (json!({}), none.clone(), false, true),
        (json!({ (names::CREDENTIAL): "c", (names::STATE_OF): "c" }), none.clone(), false, false),
        (json!({ (names::STATE_OF): "c" }), json!({ "immutable": true }), false, false),
    ];
    for (annotations, more, plain, forced) in cases {
        let secret = secret(&annotations, &more);
        assert_eq!(
            judge(&secret, "c", false).is_ok(),
            plain,
            "{annotations} {more}"
        );
        assert_eq!(
            judge(&secret, "c", true).is_ok(),
            forced,
            "{annotations} {more}"
        );
    }
}

#[test]
fn the_page_shows_text_and_nothing_else() {
    let html = Page::failed("<script>alert('&\"')</script>".to_owned()).html();
    assert!(
        html.contains("&lt;script&gt;alert(&#39;&amp;&quot;&#39;)&lt;/script&gt;"),
        "{html}"
    );
    assert!(!html.contains("<script"), "{html}");
}

/// Gets a page as a browser does, without waiting for its end.
async fn get(door: &Url, path_and_query: &str) -> String {
    let (host, port) = (
        door.host_str().expect("a host"),
        door.port().expect("a port"),
    );
    let mut stream = TcpStream::connect((host, port))
        .await
        .expect("an open door");
    let request = format!(
        "GET {path_and_query} HTTP/1.1\r\nhost: {host}:{port}\r\nconnection: close\r\n\r\n"
    );
    stream
        .write_all(request.as_bytes())
        .await
        .expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer
}

#[tokio::test]
async fn the_door_waits_for_the_right_visitor_and_shows_the_last_page() {
    let door = Door::open(false, None, None).await.expect("a port");
    let at = Url::parse(&door.redirect_uri).expect("a URL");
    assert_eq!(at.path(), "/callback");
    let person = tokio::spawn(async move {
        let favicon = get(&at, "/favicon.ico").await;
        assert!(favicon.starts_with("HTTP/1.1 404"), "{favicon}");
        let forged = get(&at, "/callback?code=evil&state=guess").await;
        assert!(forged.starts_with("HTTP/1.1 400"), "{forged}");
        get(&at, "/callback?code=good&state=word").await
    });
    let (code, visitor) = door
        .wait("word", None, Duration::from_secs(20))
        .await
        .expect("a visitor");
    assert_eq!(code.expose_secret(), "good");
    visitor.tell(Page::done("As ada.".to_owned())).await;
    let page = person.await.expect("a page");
    assert!(
        page.contains("As ada.") && page.contains("no-store"),
        "{page}"
    );
}

#[tokio::test]
async fn a_refusal_ends_the_wait_and_so_does_the_deadline() {
    let door = Door::open(true, None, None).await.expect("a port");
    let at = Url::parse(&door.redirect_uri).expect("a URL");
    assert_eq!(at.path(), "/");
    let person = tokio::spawn(async move { get(&at, "/?error=access_denied&state=word").await });
    let told = door.wait("word", None, Duration::from_secs(20)).await;
    let told = told.err().expect("a refusal");
    assert!(
        told.contains("access_denied") && told.contains("declined"),
        "{told}"
    );
    let page = person.await.expect("a page");
    assert!(page.contains("Not signed in"), "{page}");

    let door = Door::open(true, None, None).await.expect("a port");
    let told = door.wait("word", None, Duration::from_millis(50)).await;
    assert!(told.err().expect("no visitor").contains("in time"));
}

#[tokio::test]
async fn a_port_that_is_taken_is_told() {
    let first = Door::open(true, None, None).await.expect("a port");
    let port = Url::parse(&first.redirect_uri).expect("a URL").port();
    let told = Door::open(true, None, port).await.err().expect("taken");
    assert!(told.contains("--port"), "{told}");
    let given = Url::parse("http://localhost:1/").expect("a URL");
    let told = Door::open(true, Some(&given), Some(2))
        .await
        .err()
        .expect("two ports");
    assert!(told.contains("two ports"), "{told}");
}

#[test]
fn ids_are_version_4_uuids() {
    let (one, two) = (uuid(), uuid());
    assert_ne!(one, two);
    let shape: String = one
        .chars()
        .map(|c| if c.is_ascii_hexdigit() { 'x' } else { c })
        .collect();
    assert_eq!(shape, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx");
    assert!(
        one[14..].starts_with('4') && one[19..].starts_with(['8', '9', 'a', 'b']),
        "{one}"
    );
}

#[test]
fn a_report_names_what_was_granted_and_no_token() {
    use apicred::{
        credential::{Issuer, IssuerLookup, parse},
        oauth::{RawAnswer, sign_in::redeemed},
    };
    let object = serde_json::from_value(json!({
        "apiVersion": "apicred.dev/v1alpha1",
        "kind": "ApiCredential",
        "metadata": { "name": "c", "namespace": "team" },
        "spec": {
            "entra": { "tenantId": "contoso.example" },
            "client": { "id": "id-1", "public": {} },
            "grant": { "refreshToken": { "secretRef": { "name": "state", "key": "rt" } } },
            "scopes": ["api://demo/Records.Read", "api://demo/Records.Write"],
            "target": { "secretName": "token" },
        },
    }))
    .expect("a credential");
    let credential = parse(&object, |_| IssuerLookup::Found(Issuer::nowhere())).expect("valid");
    let answer = json!({
        "access_token": "opaque-access", "refresh_token": "opaque-refresh", "token_type": "Bearer",
        "expires_in": 3600, "scope": "api://demo/Records.Read openid",
    });
    let raw = RawAnswer {
        status: 200,
        content_type: None,
        retry_after: None,
        challenge: None,
        body: answer.to_string().into_bytes(),
    };
    let now = jiff::Timestamp::UNIX_EPOCH;
    let token = redeemed(&credential, &raw, now, now).expect("a token");
    let lines = Report {
        credential: &credential,
        person: Some("ada"),
        token: &token,
        place: "Secret team/state",
        key: "rt",
    }
    .lines();
    assert_eq!(
        lines,
        "Signed in as ada.\n  \
         credential  team/c\n  \
         client      id-1\n  \
         issuer      Entra tenant https://login.microsoftonline.com/contoso.example\n  \
         granted     api://demo/Records.Read openid\n  \
         not granted api://demo/Records.Write\n  \
         stored in   Secret team/state, key rt\n\
         apicred takes it up by itself: kubectl get apicredential c --namespace team"
    );
}
