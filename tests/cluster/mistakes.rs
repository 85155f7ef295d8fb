//! Mistakes of users at issuers that are not part of this project: the reason, and the cause in the message.

use serde_json::{Value, json};
use testenv::{OidcClient, OidcClientAuth, OidcOptions, OidcProvider};

use crate::{
    hydra::{self, By},
    support::{
        Place, World, condition,
        keys::{Kind, keys},
        merge, run,
    },
};

/// The mistake, the change of the issuer, the client's ID, the change of the credential, the reason, and a part of the
/// message.
type Row = (
    &'static str,
    Value,
    &'static str,
    Value,
    &'static str,
    &'static str,
);

/// Creates a credential for every mistake of the table, and compares what is reported. All differences are
/// shown together.
async fn check(usual: impl AsyncFn(Value) -> Place, rows: Vec<Row>) {
    let mut wrong = Vec::new();
    for (what, issuer, id, change, reason, phrase) in rows {
        let place = usual(issuer).await;
        place.put_secret("wrong", "k", "not-the-secret").await;
        place
            .put_secret("wrong-long", "k", &"not-the-secret".repeat(4))
            .await;
        let other = keys(Kind::Rsa, "other", None);
        place.put_tls("other", &other).await;
        let spec = json!({ "client": { "id": id }, "scopes": ["read"] });
        place.create("c", hydra::over(spec, change)).await;
        let (seen, message) = place
            .until("c", what, |c| {
                let ready = condition(c, "Ready").filter(|r| r.status == "False")?;
                Some((ready.reason, ready.message))
            })
            .await;
        if seen != reason || !message.contains(phrase) {
            wrong.push(format!(
                "{what}: {seen} {message:?}, not {reason} {phrase:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn wrong_secret() -> Value {
    json!({ "client": { "secrets": [{ "name": "wrong", "key": "k" }] } })
}

/// The same, and long enough to sign.
fn wrong_long_secret() -> Value {
    json!({ "client": { "secrets": [{ "name": "wrong-long", "key": "k" }] } })
}

fn signed_by(secret: &str) -> Value {
    hydra::signed_by(secret)
}

fn none() -> Value {
    json!({})
}

#[test]
fn mistakes_at_hydra_have_their_class_and_their_cause() {
    run(async {
        let world = World::shared().await;
        let usual = async |change: Value| {
            let (_, place) = hydra::place(world, "mistake", By::Discovery, change).await;
            place
        };
        let stranger = json!({ "grant": { "jwtBearer": { "signed": {
            "keyRef": { "name": "other", "key": "tls.key" }, "issuer": "https://stranger.example",
        } } } });
        #[rustfmt::skip]
        let rows = vec![
            ("a wrong secret", none(), "basic", wrong_secret(), "ClientRefused", "client secret"),
            ("an unknown client", none(), "nobody", none(), "ClientRefused", "client.id"),
            ("another authentication method", none(), "post", none(), "ClientAuthenticationUnsupported", "clientAuthentication"),
            ("a secret for a client with a key", none(), "signer", none(), "ClientAuthenticationUnsupported", "private_key_jwt"),
            ("a key for a client with a secret", none(), "basic", signed_by("signer"), "ClientAuthenticationUnsupported", "client_secret_basic"),
            ("a key that is not registered", none(), "signer", signed_by("other"), "ClientRefused", "Secret other (key tls.key)"),
            ("another audience of the assertion", json!({ "assertionAudience": "Issuer" }), "signer", signed_by("signer"), "AssertionRefused", "assertionAudience"),
            ("an unknown scope", none(), "basic", json!({ "scopes": ["nope"] }), "InvalidScope", "spec.scopes"),
            ("an audience that is not allowed", none(), "basic", json!({ "audience": "https://other.example" }), "InvalidRequest", "audience"),
            ("a grant that is not allowed", none(), "asserting", none(), "ClientNotAuthorized", "grant"),
            ("a signer that is not trusted", none(), "asserting", stranger, "AssertionRefused", "stranger"),
        ];
        check(usual, rows).await;
    });
}

#[test]
fn mistakes_at_the_provider_have_their_class_and_their_cause() {
    run(async {
        let world = World::shared().await;
        let own = keys(Kind::Rsa, "signer", None);
        let mut options = OidcOptions::default();
        options.clients.push(
            OidcClient::new("signer", OidcClientAuth::PrivateKeyJwt)
                .jwks(own.jwks.clone(), "RS256"),
        );
        options.clients.push(
            OidcClient::new("user", OidcClientAuth::PrivateKeyJwt)
                .jwks(own.jwks.clone(), "RS256")
                .sign_in(crate::providers::NOWHERE),
        );
        let mut signing = OidcClient::new("jwt", OidcClientAuth::SecretJwt).secret("basic-secret");
        signing.signing_alg = Some("HS256".to_owned());
        options.clients.push(signing);
        let provider = OidcProvider::start(options).await.expect("an issuer");
        let (url, ca) = (
            provider.issuer_url().to_owned(),
            provider.ca_pem().to_owned(),
        );
        let usual = async |change: Value| {
            let place = world.place("mistake").await;
            let kind = json!({ "entra": null, "oidc": { "issuerUrl": url }, "caBundle": ca });
            place
                .put_issuer(merge(place.issuer_spec(kind), change))
                .await;
            place.put_source("basic-secret").await;
            place.put_tls("signer", &own).await;
            place
        };
        let at =
            |path: &str| json!({ "oidc": null, "oauth2": { "tokenUrl": format!("{url}{path}") } });
        let secret_jwt = |algorithm: &str| json!({ "oidc": { "clientAuthentication": { "secretJwt": { "algorithm": algorithm } } } });
        #[rustfmt::skip]
        let rows = vec![
            ("a wrong secret", none(), "basic", wrong_secret(), "ClientRefused", "client secret"),
            ("an unknown client", none(), "nobody", none(), "ClientRefused", "client.id"),
            ("a key that is not registered", none(), "signer", signed_by("other"), "ClientRefused", "Secret other (key tls.key)"),
            ("an unknown resource", none(), "basic", json!({ "resources": ["https://other.example"] }), "ResourceUnknown", "spec.resources"),
            ("a grant that is not allowed", none(), "user", signed_by("signer"), "ClientNotAuthorized", "grant"),
            ("a secret that is too short to sign", secret_jwt("HS256"), "jwt", wrong_secret(), "ClientSecretInvalid", "32 bytes"),
            ("another secret that signs", secret_jwt("HS256"), "jwt", wrong_long_secret(), "ClientRefused", "sent: client_secret_jwt"),
            ("a secret that signs where it is sent", secret_jwt("HS256"), "basic", wrong_long_secret(), "ClientRefused", "clientAuthentication"),
            ("a secret that is sent where it signs", none(), "jwt", none(), "ClientRefused", "clientAuthentication"),
            ("another algorithm of the secret", secret_jwt("HS384"), "jwt", wrong_long_secret(), "ClientRefused", "algorithm"),
            ("a wrong path", at("/tokens"), "basic", none(), "EndpointNotFound", "correct the issuer"),
        ];
        check(usual, rows).await;
    });
}
