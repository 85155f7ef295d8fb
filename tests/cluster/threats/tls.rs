//! No request without TLS, and no signature by a weak key.

use kube::api::PostParams;
use serde_json::json;

use super::attacker::{Attacker, ISSUERS_AND_CREDENTIALS};
use crate::support::{Listener, World, run, typed};

/// Weak intentionally: 1024 bits, created for this test, without any other use.
const WEAK: &str = "\
-----BEGIN RSA PRIVATE KEY-----
MIICXAIBAAKBgQDZgg8cB3X1lOT1ppgZpfs4NMaU2+GIbEanpe6QZ3kHCYarSBhI
qZzrgnD4pBQ/UifAD8fTGTaj+9Snr6oqD0MDNQcCqIE/7pmY4+eAfjO60yo6tVC9
0UZJ4DukwPl+KtPmj3B13l4awJ423gTsLxuKkldSbvF3pvMdISBspLXlUwIDAQAB
AoGANwzG3DY7MbPEmzPV7S/oPFqHJCfelhOpckb58UxvAkvz7KfrlYBwOd8izptg
kIIvk1mrHo+UF77mHKbGL6z7LX4Kp8IqXUIbeDMWy0UnVPC9S8FTJ6PJZWcGJWUO
9vTEJ6SSpz+DFm4X1wFJ+xc1b0mIiNzJ7Bjr3braSaqedvECQQD3Zd6NYoFy8FD/
zpWe0IuXjiot7Ai2VBE0cPiHrjDMPv6OhVpDQxphzPqAbD9F6ZB5oOBzqvcbBx08
oErEmqD7AkEA4RIigOtbxtvaQZxUnDXao6UhyilJt8yPXxu1gwQHYaa52GpklvLX
+jdAZE9vspkNLFTttYiTbKtGlWbzqwsNiQJADKRrBASVot7+9KOE59G2YG9GXoRi
SZbwLiLbwGs5WSaa8YOFAkzqizbjUi616Qevd1euQJrq97mcV93FFFjmgwJAdhAX
PV04tWXaZZRl5dNyL2mOAggKfXm2s4NLgcB5RsY4sseMoIoetUiKZJQu2ZbjjB+4
2gMcomJuEi0BIPYZUQJBAM8Z4yyypeuHzJYMCKTjcYqNpRWRLDIDIMQH9UJqIPvw
cPJTs7oIXX/nwvM/I+knneVg/SF6wE87xAjKwBjxXf0=
-----END RSA PRIVATE KEY-----
";

#[test]
fn nothing_goes_over_http_and_no_weak_key_signs() {
    run(async {
        let world = World::shared().await;
        let place = world.place("t11").await;
        let attacker = Attacker::of(world, &place, ISSUERS_AND_CREDENTIALS).await;
        for (name, spec) in [
            (
                "token",
                json!({ "oauth2": { "tokenUrl": "http://login.example.com/token" } }),
            ),
            (
                "upper",
                json!({ "oauth2": { "tokenUrl": "HTTP://login.example.com/token" } }),
            ),
            (
                "discovery",
                json!({ "oidc": { "issuerUrl": "http://login.example.com" } }),
            ),
            (
                "entra",
                json!({ "entra": { "tenantId": "t.example", "authorityHost": "http://login.example.com" } }),
            ),
            (
                "revocation",
                json!({ "oauth2": { "tokenUrl": "https://login.example.com/token", "revocationUrl": "http://login.example.com/revoke" } }),
            ),
            (
                "ftp",
                json!({ "oauth2": { "tokenUrl": "ftp://login.example.com/token" } }),
            ),
            (
                "file",
                json!({ "oauth2": { "tokenUrl": "file:///etc/passwd" } }),
            ),
            (
                "user",
                json!({ "oauth2": { "tokenUrl": "https://me:secret@login.example.com/token" } }),
            ),
        ] {
            let reported = match attacker.issuer(name, spec).await {
                Err(refused) => refused,
                Ok(()) => attacker.issuer_refused(name).await,
            };
            assert!(
                reported.contains("https://") || reported.contains("neither a user"),
                "{name}: {reported}"
            );
        }
        for algorithm in ["none", "HS256", "RS1", "RS224", ""] {
            let pair = json!({ "secretName": "pair", "algorithm": algorithm });
            let spec = place.spec(json!({ "client": { "secrets": null, "certificates": [pair] } }));
            let refused = attacker.credential("alg", spec).await.unwrap_err();
            assert!(refused.contains("algorithm"), "{algorithm}: {refused}");
        }
        let secret = json!({ "metadata": { "name": "weak" }, "stringData": { "key": WEAK } });
        place
            .secrets()
            .create(&PostParams::default(), &typed(secret))
            .await
            .unwrap();
        let signed = json!({ "keyRef": { "name": "weak", "key": "key" }, "issuer": "me" });
        let listener = Listener::start();
        place.put_token_url(&listener).await;
        place
            .create(
                "weak",
                json!({ "client": null, "grant": { "jwtBearer": { "signed": signed } } }),
            )
            .await;
        let message = place.not_ready("weak", "MaterialInvalid").await;
        assert!(message.contains("less than 2048 bits"), "{message}");
        assert!(listener.requests().is_empty(), "a weak key has signed");
        attacker.learns_nothing(&place).await;
    });
}
