//! How the spec and the document select the client authentication.

use super::*;

#[test]
fn assertion_settings_of_a_discovery_document_are_stored() {
    use SigningAlgorithm::{ES256, PS256, RS256};
    let algorithms = |list: Value| {
        let change = json!({ "token_endpoint_auth_signing_alg_values_supported": list });
        of(&change, None).unwrap().algorithms
    };
    assert_eq!(algorithms(json!(null)), None);
    assert_eq!(algorithms(json!(["HS256", "RS256"])), Some(vec![RS256]));
    assert_eq!(
        algorithms(json!(["PS256", "ES256", "PS256", 7])),
        Some(vec![PS256, ES256])
    );
    let takes = |list: Value| {
        let change = json!({ "token_endpoint_auth_methods_supported": list });
        of(&change, None).unwrap().takes_assertions
    };
    assert!(takes(json!(null)) && takes(json!(["private_key_jwt", "none"])));
    assert!(!takes(json!(["client_secret_basic"])));
}

proptest! {
    #[test]
    fn any_bytes_give_a_document_for_this_issuer_or_a_sentence(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        check(&bytes);
    }

    #[test]
    fn any_values_give_a_document_for_this_issuer_or_a_sentence(
        issuer in prop_oneof![Just(ISSUER.to_owned()), Just(format!("{ISSUER}/")), "\\PC{0,40}", "https?://[a-z./:@#?%{}<>\"]{0,300}"],
        endpoint in prop_oneof![Just("https://t.example.com/".to_owned()), "\\PC{0,40}", "[a-z]{1,6}:/{0,3}[a-z./:@#?%]{0,30}"],
    ) {
        check(&document(&json!({ "issuer": issuer, "token_endpoint": endpoint, "revocation_endpoint": endpoint })));
    }

    #[test]
    fn a_redirect_never_leaves_its_origin(location in "\\PC{0,60}|(https?:)?/{0,3}[a-z.@:0-9]{0,20}/?[a-z]{0,9}") {
        let from = url("https://i.example.com:8443/a");
        match redirected(&from, Some(&location)) {
            Redirect::Here(to) => prop_assert!(to.origin() == from.origin() && to.username().is_empty()),
            Redirect::Away(shown) => prop_assert!(shown.is_none_or(|s| s.chars().count() <= 201)),
        }
    }
}

fn check(body: &[u8]) {
    match read_as(ISSUER, body, None) {
        Ok(found) => {
            assert_eq!(
                found.issuer.as_deref().map(|i| i.trim_end_matches('/')),
                Some(ISSUER)
            );
            let all = [&found.mtls_url, &found.revocation, &found.device];
            for url in all.into_iter().flatten().chain([&found.url]) {
                assert!(url.scheme() == "https" && url.username().is_empty());
            }
        }
        Err(token_error) => {
            let message = token_error.message();
            assert_eq!(token_error.reason.as_str(), "DiscoveryFailed");
            assert!(message.len() < 700, "{message}");
            assert_eq!(crate::printable(&message), message);
        }
    }
}

#[test]
fn the_client_secret_is_sent_as_in_the_spec_else_as_in_the_discovery_document() {
    use SecretAlgorithm::{HS256, HS384, HS512};
    use SecretStyle::{BasicForm, BasicRaw, Jwt, Post};
    let methods = |list: Value| json!({ "token_endpoint_auth_methods_supported": list });
    let jwt = |algorithms: Value| {
        json!({
            "token_endpoint_auth_methods_supported": ["private_key_jwt", "client_secret_jwt"],
            "token_endpoint_auth_signing_alg_values_supported": algorithms,
        })
    };
    #[rustfmt::skip]
    let cases = [
        (json!({}), None, Some(BasicForm)),
        (methods(json!(["client_secret_basic"])), None, Some(BasicForm)),
        (methods(json!(["client_secret_post", "client_secret_basic"])), None, Some(BasicForm)),
        (methods(json!(["private_key_jwt", "client_secret_post"])), None, Some(Post)),
        (methods(json!(["private_key_jwt"])), None, None),
        (methods(json!([])), None, None),
        (methods(json!(["client_secret_basic"])), Some(Post), Some(Post)),
        (methods(json!(["client_secret_post"])), Some(BasicRaw), Some(BasicRaw)),
        (methods(json!(["private_key_jwt"])), Some(Post), Some(Post)),
        // Some servers write one method instead of a list, or in another case.
        (methods(json!("client_secret_post")), None, Some(Post)),
        (methods(json!(["CLIENT_SECRET_POST"])), None, Some(Post)),
        (methods(json!(null)), None, Some(BasicForm)),
        // A secret that signs is the last choice, with the shortest hash, which requires the shortest secret.
        (methods(json!(["client_secret_jwt", "client_secret_post"])), None, Some(Post)),
        (methods(json!(["client_secret_jwt", "client_secret_basic"])), None, Some(BasicForm)),
        (methods(json!(["client_secret_jwt"])), None, Some(Jwt(None))),
        (methods(json!(["client_secret_jwt"])), Some(Post), Some(Post)),
        (methods(json!(["client_secret_basic"])), Some(Jwt(None)), Some(Jwt(None))),
        (jwt(json!(["RS256", "HS512", "HS256"])), None, Some(Jwt(Some(HS256)))),
        (jwt(json!(["HS512", "HS384"])), None, Some(Jwt(Some(HS384)))),
        (jwt(json!("HS512")), None, Some(Jwt(Some(HS512)))),
        (jwt(json!(["RS256", "ES256"])), None, Some(Jwt(None))),
        (jwt(json!(null)), None, Some(Jwt(None))),
        (jwt(json!(["HS512"])), Some(Jwt(Some(HS256))), Some(Jwt(Some(HS256)))),
        (jwt(json!(["HS512"])), Some(Jwt(None)), Some(Jwt(Some(HS512)))),
    ];
    for (change, wanted, expected) in cases {
        assert_eq!(
            of(&change, wanted)
                .ok()
                .filter(|e| e.takes_secrets)
                .map(|e| e.style),
            expected,
            "{change} {wanted:?}"
        );
    }
}

#[test]
fn a_method_of_the_spec_that_the_document_does_not_list_is_named_with_those_that_it_lists() {
    use SecretStyle::{BasicForm, BasicRaw, Jwt, Post};
    let methods = |list: Value| json!({ "token_endpoint_auth_methods_supported": list });
    let lists = ["CLIENT_SECRET_POST", "private_key_jwt", "\u{1b}[2J"];
    for (style, selects) in [
        (
            BasicForm,
            "clientAuthentication.basic selects client_secret_basic",
        ),
        (
            BasicRaw,
            "clientAuthentication.basic selects client_secret_basic",
        ),
        (
            Jwt(None),
            "clientAuthentication.secretJwt selects client_secret_jwt",
        ),
    ] {
        let found = of(&methods(json!(lists)), Some(style)).ok().unwrap();
        let message = found.unlisted.unwrap();
        assert!(message.starts_with(selects), "{message}");
        assert!(
            message.contains("(it lists client_secret_post, private_key_jwt)"),
            "{message}"
        );
    }
    let message = of(&methods(json!(["x"])), Some(Post))
        .ok()
        .unwrap()
        .unlisted;
    assert!(message.unwrap().contains("none that apicred knows"));
    for (change, style) in [
        (methods(json!(lists)), Some(Post)),
        (methods(json!(lists)), None),
        // A document without a list states nothing.
        (json!({}), Some(Post)),
        (methods(json!(null)), Some(Post)),
    ] {
        assert_eq!(of(&change, style).ok().unwrap().unlisted, None, "{change}");
    }
}
