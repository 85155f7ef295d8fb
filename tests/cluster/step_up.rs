//! Step-up authentication: a policy or an API requires more from a user than the last sign-in had.

use serde_json::json;

use crate::{
    plugin::{Plugin, browse, entra, spec, unchanged, user_kubeconfig},
    support::{Place, World, condition, run},
};

/// A program with tokens of this test's user has this permission.
const SCOPE: &str = "api://demo/Records.Read";
/// A Conditional Access policy of the tenant.
const POLICY: &str = "5b0b1c7e-8a34-4d62-9f0e-1c2d3e4f5a6b";

/// The claims that the last answer of the issuer requested.
async fn requested_claims(place: &Place) -> Option<String> {
    let credential = place.credentials().get("c").await.expect("a credential");
    let status = credential.status.expect("a status");
    status.last_attempt.and_then(|last| last.claims)
}

/// Runs the plugin until the user has signed in; returns the claims in the browser's address.
async fn sign_in(
    place: &Place,
    kubeconfig: &std::path::PathBuf,
    arguments: &[&str],
) -> Vec<String> {
    let mut plugin = Plugin::start(kubeconfig, arguments);
    let address = plugin.address().await;
    let sent = reqwest::Url::parse(&address).expect("an address");
    let sent = sent.query_pairs().filter(|(name, _)| name == "claims");
    let sent = sent.map(|(_, value)| value.into_owned()).collect();
    browse(place.issuer.ca_pem(), &address).await;
    let (good, printed) = plugin.end().await;
    assert!(good, "{printed}");
    unchanged(place, &printed).await;
    sent
}

#[test]
fn a_policy_challenges_a_renewal_the_status_has_the_command_and_after_the_sign_in_renewals_go_on() {
    run(async {
        let world = World::shared().await;
        let place = entra(world, "step-up").await;
        let kubeconfig = user_kubeconfig(world, &place, true).await;
        let user = "grace@contoso.example";
        let grace = || dev_issuer::User::new(user, "grace~password.of-step-up");
        place.issuer.add_user(grace()).expect("a user");
        place.issuer.auto_approve(Some(user)).expect("a user");
        place.create("c", spec(&place, &json!([SCOPE]))).await;
        place.not_ready("c", "SignInRequired").await;
        let login = ["login", "c", "-n", &place.namespace];
        let sent = sign_in(&place, &kubeconfig, &login).await;
        assert!(sent.is_empty(), "nobody asked for claims: {sent:?}");
        let first = place.ready("c").await;

        // From now on a policy requires more from this user.
        let strict = grace().policy(POLICY);
        place.issuer.add_user(strict).expect("a user");
        place.request_renewal("c").await;
        let failing = place
            .until("c", "the challenge", |c| {
                condition(c, "RenewalFailing").filter(|f| f.reason == "MfaRequired")
            })
            .await;
        let unchanged = place.view("token").await.expect("a Secret");
        assert_eq!(unchanged.token, first.token, "the valid token stays");
        let claims = requested_claims(&place).await.expect("the claims are kept");
        assert!(claims.contains(POLICY), "{claims}");

        // The claims in the status are sufficient.
        let (_, command) = failing
            .message
            .split_once("kubectl apicred ")
            .expect(&failing.message);
        let arguments = command.split_whitespace().take(4);
        let arguments: Vec<&str> = arguments
            .map(|w| w.trim_end_matches([';', ',', '.']))
            .collect();
        assert_eq!(arguments, ["login", "c", "--namespace", &place.namespace]);
        let sent = sign_in(&place, &kubeconfig, &arguments).await;
        assert_eq!(sent, [claims], "once");
        let second = place.another_token("token", &first).await;
        assert_eq!(place.call("demo", "whoami", &second.token).await, 200);
        place
            .until("c", "well", |c| {
                condition(c, "RenewalFailing").is_none().then_some(())
            })
            .await;
        assert_eq!(
            requested_claims(&place).await,
            None,
            "the next sign-in has none"
        );
        for _ in 0..2 {
            place.request_renewal("c").await;
            let before = place.view("token").await.expect("a Secret");
            place.another_token("token", &before).await;
        }
    });
}

#[test]
fn a_sign_in_requests_the_claims_that_an_api_requires() {
    run(async {
        let world = World::shared().await;
        let place = entra(world, "claims").await;
        let kubeconfig = user_kubeconfig(world, &place, true).await;
        place.create("c", spec(&place, &json!([SCOPE]))).await;
        place.not_ready("c", "SignInRequired").await;
        place
            .issuer
            .auto_approve(Some(crate::plugin::ADA))
            .expect("a user");
        let login = ["login", "c", "-n", &place.namespace, "--claims"];
        // As in the header WWW-Authenticate of Microsoft Graph.
        let header = "eyJhY2Nlc3NfdG9rZW4iOnsiYWNycyI6eyJlc3NlbnRpYWwiOnRydWUsInZhbHVlIjoiYzEifX19";
        let plain = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;
        for given in [header, plain] {
            let arguments = [&login[..], &[given]].concat();
            let sent = sign_in(&place, &kubeconfig, &arguments).await;
            assert_eq!(sent, [plain]);
            place.ready("c").await;
        }
        let plugin = Plugin::start(&kubeconfig, &[&login[..], &["c1"]].concat());
        let (good, printed) = plugin.end().await;
        assert!(!good && printed.contains("WWW-Authenticate"), "{printed}");
    });
}
