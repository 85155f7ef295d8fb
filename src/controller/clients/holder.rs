//! Where a registration access token belongs that is not stored in a Secret yet: the Secret may have been deleted and recreated since the request.

use k8s_openapi::api::core::v1::Secret;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::controller::api::calls::ApiErrorKind;
use crate::{
    api::names,
    credential::{Key, binding::is_named},
    oauth::secret_text,
};

/// The Secret that now has the name.
#[derive(Debug, PartialEq)]
pub(super) enum Holder {
    /// The Secret that was read, as far as is known.
    Same,
    /// The same Secret, which is now immutable.
    Immutable,
    /// A recreated Secret for the same registration of this client, with its UID.
    Again(Option<String>),
    /// A Secret that must not receive the token, with the reason.
    Another(String),
    /// Unknown, because the Secret could not be read.
    Unread(ApiErrorKind),
    /// There is no such Secret.
    Gone,
}

/// Determines which Secret this is. `before`: UID of the Secret that was read. `addresses`: the key of the address, the address
/// of the request, and the address to be stored. `tokens`: the key of the registration access token, the token to be stored, and the token before it.
pub(super) fn holder(
    found: &Secret,
    before: Option<&str>,
    (key, addresses): (&str, [&Url; 2]),
    (token_key, tokens): (&str, [&SecretString; 2]),
    (client, uid): (&Key, &str),
) -> Holder {
    let meta = &found.metadata;
    let value = |key: &str| {
        let bytes = found.data.as_ref().and_then(|data| data.get(key));
        bytes.and_then(|bytes| secret_text(&bytes.0).ok())
    };
    // The issuer may have issued this token after ours.
    let ours = |there: &SecretString| {
        let mut own = tokens.iter();
        own.any(|own| own.expose_secret() == there.expose_secret())
    };
    if value(token_key).is_some_and(|there| !ours(&there)) {
        return Holder::Another(format!(
            "has another value under {token_key}, which is not replaced; if the issuer rejects that value, remove this key"
        ));
    }
    if meta.uid.as_deref() == before {
        return match found.immutable {
            Some(true) => Holder::Immutable,
            _ => Holder::Same,
        };
    }
    let annotations = meta.annotations.as_ref();
    let by = annotations.and_then(|all| all.get(names::ROTATE_BY));
    if !by.is_some_and(|by| is_named(by, &client.name, uid)) {
        let (note, name) = (names::ROTATE_BY, &client.name);
        return Holder::Another(format!(
            "was created again and has no annotation {note}: {name}"
        ));
    }
    let same = value(key).is_some_and(|text| {
        Url::parse(text.expose_secret()).is_ok_and(|url| addresses.contains(&&url))
    });
    if same {
        Holder::Again(meta.uid.clone())
    } else {
        Holder::Another(format!(
            "was created again and has another address under {key}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_secret_that_was_created_again_has_the_token_if_it_is_of_the_same_registration() {
        let address = Url::parse("https://issuer.example/register/a").expect("a URL");
        let moved = Url::parse("https://issuer.example/register/c").expect("a URL");
        let client = Key::new("shop", "orders");
        let registration = ("uri", [&address, &moved]);
        let of = |uid: &str, more: Value| {
            let mut secret = json!({ "metadata": { "uid": uid } });
            json_patch(&mut secret, more);
            let secret: Secret = serde_json::from_value(secret).expect("a Secret");
            let own = SecretString::from("new".to_owned());
            let before = SecretString::from("old".to_owned());
            let tokens = ("token", [&own, &before]);
            let (at, of) = (registration, (&client, "client-uid"));
            holder(&secret, Some("1"), at, tokens, of)
        };
        // "https://issuer.example/register/a" with a line end, and another one.
        let ours = json!({ "uri": "aHR0cHM6Ly9pc3N1ZXIuZXhhbXBsZS9yZWdpc3Rlci9hCg==" });
        let theirs = json!({ "uri": "aHR0cHM6Ly9pc3N1ZXIuZXhhbXBsZS9yZWdpc3Rlci9i" });
        // "https://issuer.example/register/c": the address from the response.
        let moved_there = json!({ "uri": "aHR0cHM6Ly9pc3N1ZXIuZXhhbXBsZS9yZWdpc3Rlci9j" });
        let by = |by: &str| json!({ "apicred.dev/rotate-by": by });
        let named = |client: &str, data: &Value| json!({ "metadata": { "uid": "2", "annotations": by(client) }, "data": data });
        assert_eq!(of("1", json!({})), Holder::Same);
        assert_eq!(of("1", json!({ "immutable": true })), Holder::Immutable);
        // The new token, the token before it with a line end, and a token that the owner stored in the meantime.
        let token = |text: &str| json!({ "data": { "token": text } });
        assert_eq!(of("1", token("bmV3")), Holder::Same);
        assert_eq!(of("1", token("b2xkCg==")), Holder::Same);
        let another = |uid: &str| match of(uid, token("bGF0ZXI=")) {
            Holder::Another(why) => why.contains("another value under token"),
            _ => false,
        };
        assert!(another("1") && another("2"), "it is not replaced");
        let again = Holder::Again(Some("2".to_owned()));
        assert_eq!(of("2", named("orders", &ours)), again);
        assert_eq!(of("2", named("orders@client-uid", &ours)), again);
        assert_eq!(of("2", named("orders", &moved_there)), again);
        for (more, words) in [
            (json!({ "data": ours }), "rotate-by: orders"),
            (named("another", &ours), "rotate-by: orders"),
            (named("orders@another-uid", &ours), "rotate-by: orders"),
            (named("orders", &theirs), "under uri"),
            (named("orders", &json!({})), "under uri"),
        ] {
            let Holder::Another(why) = of("2", more) else {
                panic!("{words}");
            };
            assert!(why.contains(words), "{why}");
        }
    }

    fn json_patch(object: &mut Value, more: Value) {
        let (Value::Object(object), Value::Object(more)) = (object, more) else {
            panic!("objects");
        };
        object.extend(more);
    }
}
