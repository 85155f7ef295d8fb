//! Tests that need neither a cluster nor an issuer.

mod listener;

use std::time::Duration;

use apicred::{
    api::{TokenIssuer, names},
    credential::{Credential, Issuer, IssuerLookup, parse},
    oauth::{
        grant,
        sign_in::{Destination, Flow, Part, destinations},
    },
};
use clap::{CommandFactory, Parser};
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};
use url::Url;

use crate::{
    Cli, Command,
    callback::{address, redirect_uri},
    consent,
    page::Page,
    report::Report,
    state::{check_state, may_hold},
    terminal, timeout,
    wire::uuid,
};

#[test]
fn the_command_line_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn only_a_name_and_a_namespace_become_a_part_of_a_url() {
    let parsed = |arguments: &[&str]| {
        let arguments = [&["kubectl-apicred"], arguments].concat();
        Cli::try_parse_from(arguments)
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    for (name, says) in [
        ("first/status", "a name has only lowercase letters"),
        ("ac/first", "write the name without the kind: first"),
        ("first?fieldManager=x", "a name has only"),
        ("../first", "a name has only"),
        ("First", "a name has only"),
        ("-", "a name has only"),
        ("", "a name has only"),
    ] {
        for command in ["renew", "rotate", "jwks", "login"] {
            let refused = parsed(&[command, name]).expect_err(name);
            assert!(refused.contains(says), "{command} {name}: {refused}");
        }
    }
    for namespace in ["team/x", "te am", "team?x=", "a.b", "Team"] {
        let refused = parsed(&["renew", "first", "-n", namespace]).expect_err(namespace);
        assert!(refused.contains("a namespace has only"), "{refused}");
    }
    for namespace in ["team", ""] {
        assert_eq!(parsed(&["rotate", "a.b-1", "-n", namespace]), Ok(()));
    }
}

#[test]
fn the_command_that_the_operator_names_is_one() {
    let reported = grant::sign_in("team/alerts");
    let command = reported
        .split_once("kubectl apicred ")
        .expect("a command")
        .1;
    let arguments = std::iter::once("kubectl-apicred").chain(command.split(' '));
    let Command::Login(login) = Cli::try_parse_from(arguments)
        .expect("a command line")
        .command
    else {
        panic!("another command");
    };
    assert_eq!(login.target.credential, "alerts");
    assert_eq!(login.target.namespace.as_deref(), Some("team"));
}

/// The same check as in the operator, with the same message.
#[tokio::test]
async fn a_network_that_opens_too_much_is_refused_before_any_request() {
    for network in [
        "0.0.0.0/0",
        "::/0",
        "10.0.0.0/7",
        "169.254.169.254/32",
        "168.63.129.16/32",
        "fd00:ec2::254/128",
        "10.1.0.0/16,0.0.0.0/1",
    ] {
        let login = |more: &[&str]| {
            let nowhere = "--kubeconfig=/nonexistent/of-a-test";
            let arguments = [
                "kubectl-apicred",
                "login",
                "c",
                nowhere,
                "--allow-cidr",
                network,
            ];
            let arguments = arguments.iter().chain(more);
            let Command::Login(login) = Cli::try_parse_from(arguments)
                .expect("a command line")
                .command
            else {
                panic!("another command");
            };
            Box::pin(crate::login::run(*login))
        };
        let reported = login(&[]).await.expect_err("it is refused");
        assert!(
            reported.starts_with("--allow-cidr: "),
            "{network}: {reported}"
        );
        assert!(
            reported.contains("--allow-wide-cidrs"),
            "{network}: {reported}"
        );
        let reported = login(&["--allow-wide-cidrs"])
            .await
            .expect_err("there is no cluster");
        assert!(!reported.contains("--allow-cidr"), "{network}: {reported}");
    }
}

#[test]
fn flags_that_contradict_each_other_are_refused() {
    for flags in [
        ["--device", "--no-browser"],
        ["--device", "--port=1"],
        ["--timeout=1s", "--device"],
        ["--timeout=x", "--device"],
    ] {
        let arguments = ["kubectl-apicred", "login", "c"].into_iter().chain(flags);
        assert!(Cli::try_parse_from(arguments).is_err(), "{flags:?}");
    }
    // A variable of a shell that is not set.
    for command in ["login", "renew", "jwks", "rotate"] {
        let arguments = ["kubectl-apicred", command, ""];
        assert!(Cli::try_parse_from(arguments).is_err(), "{command}");
    }
    for (flags, good) in [
        (vec![], true),
        (vec!["--wait"], true),
        (vec!["--wait", "--timeout=2m"], true),
        (vec!["--wait", "--timeout=1s"], false),
        // A deadline of zero.
        (vec!["--timeout=2m"], false),
    ] {
        let arguments = ["kubectl-apicred", "renew", "c"].into_iter();
        let parsed = Cli::try_parse_from(arguments.chain(flags.iter().copied()));
        assert_eq!(parsed.is_ok(), good, "{flags:?}");
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

/// A credential of a user; at a `TokenIssuer` with this spec, or at Entra ID.
fn user(issuer: Option<&Value>) -> Credential {
    let (place, found) = match issuer {
        Some(spec) => {
            let object: TokenIssuer = serde_json::from_value(json!({
                "apiVersion": "apicred.dev/v1alpha1", "kind": "TokenIssuer",
                "metadata": { "name": "corp", "namespace": "team" }, "spec": spec,
            }))
            .expect("an issuer");
            let issuer = Issuer::namespaced(&object, &[]).expect("valid");
            (
                json!({ "issuerRef": { "name": "corp", "kind": "TokenIssuer" } }),
                issuer,
            )
        }
        None => (
            json!({ "entra": { "tenantId": "contoso.example" } }),
            Issuer::nowhere(),
        ),
    };
    let mut object = json!({
        "apiVersion": "apicred.dev/v1alpha1",
        "kind": "ApiCredential",
        "metadata": { "name": "c", "namespace": "team" },
        "spec": {
            "client": { "id": "id-1", "public": {} },
            "grant": { "refreshToken": { "secretRef": { "name": "state", "key": "rt" } } },
            "scopes": ["api://demo/Records.Read", "api://demo/Records.Write"],
            "target": { "secretName": "token" },
        },
    });
    for (key, value) in place.as_object().into_iter().flatten() {
        object["spec"][key] = value.clone();
    }
    let object = serde_json::from_value(object).expect("a credential");
    parse(&object, |_| IssuerLookup::Found(found)).expect("valid")
}

/// An issuer of the namespace whose sign-in page belongs to another issuer.
fn mixed_up() -> Credential {
    user(Some(&json!({ "oauth2": {
        "tokenUrl": "https://evil.example/token",
        "authorizationUrl": "https://login.example/authorize",
    } })))
}

#[test]
fn a_secret_of_another_owner_is_not_changed() {
    let credential = user(None);
    let none = json!({});
    #[rustfmt::skip]
    let cases = [
        (json!({ (names::STATE_OF): "c" }), none.clone(), true, true),
        (json!({ (names::STATE_OF): format!("c@{}", credential.uid) }), none.clone(), !credential.uid.is_empty(), true),
        (json!({ (names::STATE_OF): "c@another-object" }), none.clone(), false, true),
        (json!({ (names::STATE_OF): "other" }), none.clone(), false, true),
        (json!({}), none.clone(), false, true),
        (json!({ (names::CREDENTIAL): "c", (names::STATE_OF): "c" }), none.clone(), false, false),
        (json!({ (names::STATE_OF): "c" }), json!({ "immutable": true }), false, false),
    ];
    for (annotations, more, plain, forced) in cases {
        let secret = secret(&annotations, &more);
        assert_eq!(
            check_state(&secret, &credential, false).is_ok(),
            plain,
            "{annotations} {more}"
        );
        assert_eq!(
            check_state(&secret, &credential, true).is_ok(),
            forced,
            "{annotations} {more}"
        );
    }
}

#[test]
fn allowed_issuers_of_a_secret_is_never_widened() {
    let (held, origins) = (mixed_up(), ["https://evil.example".to_owned()]);
    let holds = |list: Option<&str>| {
        let notes = match list {
            Some(list) => json!({ (names::STATE_OF): "c", (names::ALLOWED_ISSUERS): list }),
            None => json!({ (names::STATE_OF): "c" }),
        };
        may_hold(&secret(&notes, &json!({})), &held.issuer, &origins)
    };
    assert_eq!(holds(None), Ok(()));
    for good in [
        "https://evil.example",
        "https://login.example, https://EVIL.example/",
    ] {
        assert_eq!(holds(Some(good)), Ok(()), "{good}");
    }
    for other in [
        "",
        "https://login.example",
        "https://evil.example.org",
        "https://evil.example:8443",
        "*",
        "http://evil.example",
    ] {
        let reported = holds(Some(other)).expect_err("another origin");
        assert!(
            reported.contains("lacks https://evil.example") && reported.contains("owner"),
            "{reported}"
        );
    }
}

#[test]
fn allowed_issuers_limits_an_issuer_that_is_vouched_for_as_well() {
    let entra = user(None).issuer;
    let origins = [entra.origin.clone()];
    let holds = |list: &str| {
        let notes = json!({ (names::STATE_OF): "c", (names::ALLOWED_ISSUERS): list });
        may_hold(&secret(&notes, &json!({})), &entra, &origins).is_ok()
    };
    assert!(holds("https://login.microsoftonline.com"));
    assert!(holds("https://login.microsoftonline.com/contoso.example"));
    for other in [
        "",
        "https://login.example",
        "https://login.microsoftonline.com/fabrikam.example",
    ] {
        assert!(!holds(other), "{other}");
    }
}

#[test]
fn a_user_sees_every_origin_once_with_what_is_sent_there() {
    let credential = mixed_up();
    let endpoint = apicred::oauth::known_endpoint(&credential).expect("endpoints");
    let places = destinations(&credential, &endpoint, Flow::Browser);
    assert_eq!(
        consent::lines(&credential, &places),
        [
            "Client id-1 requests: api://demo/Records.Read api://demo/Records.Write",
            "TokenIssuer corp sends your data to:",
            "  https://login.example: the page where you sign in",
            "  https://evil.example: code, PKCE verifier, client authentication, refresh token",
        ]
    );
    let at = |part, url: &str| Destination::new(part, &Url::parse(url).expect("a URL"));
    let places = [
        at(Part::Token, "https://аpple.example/t"),
        at(Part::Verification, "https://аpple.example/d"),
    ];
    let lines = consent::lines(&credential, &places);
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(
        lines[2].starts_with("  https://xn--pple-43d.example: code, "),
        "{lines:?}"
    );
}

#[test]
fn only_yes_agrees() {
    for yes in ["y\n", "Y\n", "yes\n", " YES \r\n", "y"] {
        assert!(terminal::agrees(yes.as_bytes()), "{yes:?}");
    }
    for no in [
        "",
        "\n",
        "n\n",
        "no\n",
        "yup\n",
        "\ny\n",
        "j\n",
        "yes please\n",
    ] {
        assert!(!terminal::agrees(no.as_bytes()), "{no:?}");
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
    use apicred::oauth::{RawAnswer, sign_in::redeemed};
    let credential = user(None);
    let answer = json!({
        "access_token": "opaque-access", "refresh_token": "opaque-refresh", "token_type": "Bearer",
        "expires_in": 3600, "scope": "api://demo/Records.Read openid",
    });
    let raw = RawAnswer::new(200, answer.to_string().into_bytes());
    let now = jiff::Timestamp::UNIX_EPOCH;
    let token = redeemed(&credential, &raw, now, now).expect("a token");
    let lines = Report {
        credential: &credential,
        user: Some("ada"),
        token: &token,
        place: "Secret team/state",
        key: "rt",
    }
    .lines();
    assert_eq!(
        lines.join("\n"),
        "Signed in as ada.\n  \
         credential  team/c\n  \
         client      id-1\n  \
         issuer      Entra tenant https://login.microsoftonline.com/contoso.example\n  \
         granted     api://demo/Records.Read openid\n  \
         not granted api://demo/Records.Write\n  \
         stored in   Secret team/state, key rt\n\
         apicred uses it automatically; check with: kubectl get apicredential c --namespace team"
    );
}

#[test]
fn the_help_is_about_the_plugin_and_not_about_the_operator() {
    let about = crate::Cli::command().get_about().map(ToString::to_string);
    assert_eq!(
        about.as_deref(),
        Some(
            "Signs in users for credentials of apicred, requests renewals and rotations, and prints public keys"
        )
    );
}
