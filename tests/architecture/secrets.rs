//! No value that contains a secret can be printed, and the files that open one are listed.

use std::collections::BTreeSet;

use super::{code, product, words};

/// Files that open a secret, each with its reason.
const OPENERS: &[&str] = &[
    "oauth/stored_assertion.rs",             // a JWT, for its expiry
    "app.rs",                                // its own token, for the audiences in it
    "credential/account_tokens.rs",          // to find a token of the cluster in a text
    "credential/static_key.rs",              // to refuse what cannot be published
    "oauth/encode.rs",                       // into the bytes of a request
    "oauth/client_auth.rs",                  // into a Basic header
    "oauth/assertion.rs",                    // a client secret, to sign with
    "oauth/answer_fields.rs", // to leave the refresh token out, and for the end of a JWT
    "oauth/hop.rs",           // a token, into the bytes of a second request
    "oauth/redaction.rs",     // to cut it out of an issuer's words
    "oauth/needs.rs",         // into the fingerprint
    "oauth/keys.rs",          // a private key, to sign with
    "oauth/client_key.rs",    // a new key, to write it as a JWK
    "oauth/grant/jwt_bearer.rs", // a key file, to sign with
    "http/mod.rs",            // onto the wire
    "http/connect.rs",        // a certificate's key, for the handshake
    "proxy/mod.rs",           // a proxy's URL, to take user and password out of it
    "publish/formats.rs",     // into the Secret
    "rotation/graph.rs",      // proofs and tokens, into the bytes of a request
    "rotation/graph/answer.rs", // its first characters, as Graph shows them
    "rotation/registration.rs", // a registration access token, into the bytes of a request
    "controller/token/source_secret.rs", // read from a Secret
    "controller/token/material.rs", // a certificate and its key, read from a Secret
    "controller/token/identity.rs", // read from the machine's key file
    "controller/token/refresh.rs", // into the digest of a refresh token
    "controller/clients/execute.rs", // a new value, into the source Secret
    "controller/clients/keypair.rs", // a new key, into the source Secret
    "controller/clients/holder.rs", // the address of a registration, to compare it
    "controller/clients/registration.rs", // the address of a registration
    "controller/clients/seen.rs", // a value, into its digest
    "controller/clients/unstored.rs", // a registration access token, into the source Secret
    "controller/token/state_secret.rs", // into the state Secret
    "controller/token/digest_key.rs", // into the token's digest
    "bin/kubectl-apicred/jwks.rs", // the private key whose public key is printed
    "bin/kubectl-apicred/authentication.rs", // a certificate from a Secret
    "bin/kubectl-apicred/state.rs", // the refresh token into the state Secret
];

/// A type with its body and its derives.
struct Type {
    name: String,
    derives: String,
    body: String,
}

/// The structs and enums of a piece of code.
fn types(code: &str) -> Vec<Type> {
    let mut found = Vec::new();
    let mut derives = String::new();
    let mut lines = code.lines().peekable();
    while let Some(line) = lines.next() {
        let trimmed = line.trim();
        if trimmed.starts_with("#[") {
            derives.push_str(trimmed);
            continue;
        }
        // Attributes may extend over several lines.
        if derives.matches('[').count() > derives.matches(']').count() {
            derives.push_str(trimmed);
            continue;
        }
        let parts: Vec<&str> = words(trimmed)
            .filter(|w| !["pub", "super", "crate", "in", "controller"].contains(w))
            .collect();
        if let ["struct" | "enum", name, ..] = parts[..] {
            let mut body = trimmed.to_owned();
            while body.matches('{').count() != body.matches('}').count()
                || !body.contains(['{', ';'])
            {
                let Some(next) = lines.next() else { break };
                body.push('\n');
                body.push_str(next);
            }
            found.push(Type {
                name: name.to_owned(),
                derives: derives.clone(),
                body,
            });
        }
        if !trimmed.is_empty() {
            derives.clear();
        }
    }
    found
}

/// Whether a type's body uses another type as the type of a field, and not only as the name of a variant.
fn holds(body: &str, name: &str) -> bool {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    body.match_indices(name).any(|(at, _)| {
        let (before, after) = (&body[..at], &body[at + name.len()..]);
        // A comma at the end of a line ends a variant or a field; within a line it separates the types of a tuple.
        let as_type = before.trim_end().ends_with([':', '<', '(', '&']) || before.ends_with(", ");
        as_type && !before.ends_with(word) && !after.starts_with(word)
    })
}

/// The names of types that contain a secret, directly or through another type.
fn secret_types(all: &[Type]) -> BTreeSet<String> {
    // RawAnswer contains a token as bytes, DigestKey the operator's key.
    let mut secret: BTreeSet<String> = ["SecretString", "SecretBox", "RawAnswer", "DigestKey"]
        .map(str::to_owned)
        .into();
    loop {
        let more: Vec<String> = all
            .iter()
            .filter(|t| !secret.contains(&t.name) && secret.iter().any(|s| holds(&t.body, s)))
            .map(|t| t.name.clone())
            .collect();
        if more.is_empty() {
            return secret;
        }
        secret.extend(more);
    }
}

/// Those of them that can be printed or serialized.
fn leaky(sources: &[String]) -> Vec<String> {
    let all: Vec<Type> = sources.iter().flat_map(|code| types(code)).collect();
    let secret = secret_types(&all);
    let printed = |t: &&Type| {
        let derived = words(&t.derives).any(|w| ["Debug", "Serialize", "Display"].contains(&w));
        let by_hand = ["Debug", "Display", "Serialize"].iter().any(|what| {
            sources
                .iter()
                .any(|code| code.contains(&format!("{what} for {} ", t.name)))
        });
        secret.contains(&t.name) && (derived || by_hand)
    };
    all.iter().filter(printed).map(|t| t.name.clone()).collect()
}

#[test]
fn nothing_that_holds_a_secret_can_be_printed_or_serialized() {
    let sources: Vec<String> = product().into_iter().map(|(_, code)| code).collect();
    assert_eq!(leaky(&sources), Vec::<String>::new());
    let all: Vec<Type> = sources.iter().flat_map(|code| types(code)).collect();
    let secret = secret_types(&all);
    for known in [
        "Token",
        "TokenRequest",
        "Material",
        "UnpublishedToken",
        "Acquired",
    ] {
        assert!(secret.contains(known), "{known} is checked: {secret:?}");
    }
}

#[test]
fn secrets_are_opened_in_the_named_files_only() {
    let openers: Vec<String> = product()
        .into_iter()
        .filter(|(_, code)| code.contains("expose_secret("))
        .map(|(path, _)| path)
        .collect();
    for path in &openers {
        assert!(
            OPENERS.contains(&path.as_str()),
            "{path} opens a secret; if it must, say why in this test's list"
        );
    }
    assert_eq!(
        openers.len(),
        OPENERS.len(),
        "the list names what is there: {openers:?}"
    );
}

#[test]
fn the_check_finds_secrets_in_types_at_any_depth() {
    let of = |text: &str| leaky(&[code(text)]);
    for (text, expected) in [
        (
            "#[derive(Clone, Debug)]\npub struct Token {\n    pub secret: SecretString,\n}",
            vec!["Token"],
        ),
        (
            "#[derive(Serialize)]\nstruct Token(SecretString);",
            vec!["Token"],
        ),
        (
            "#[derive(Debug)]\nenum Material { Secret(SecretString) }",
            vec!["Material"],
        ),
        (
            "struct A { a: SecretString }\n\n#[derive(\n    Debug,\n)]\nstruct B { a: Option<A> }",
            vec!["B"],
        ),
        (
            "struct A { a: SecretString }\nimpl fmt::Debug for A {\n}",
            vec!["A"],
        ),
        (
            "#[derive(Debug)]\nstruct H { headers: Vec<(u8, SecretString)> }",
            vec!["H"],
        ),
        ("#[derive(Debug)]\nstruct R { raw: RawAnswer }", vec!["R"]),
    ] {
        assert_eq!(of(text), expected, "{text}");
    }
    for text in [
        "#[derive(Clone)]\nstruct Token { secret: SecretString }",
        "#[derive(Debug)]\nstruct Other { a: u8 }\n\nstruct Token { secret: SecretString }",
        // The name of a variant is not the type of a field.
        "struct Token { a: SecretString }\n#[derive(Debug)]\nenum Kind {\n    Opaque,\n    Token,\n}",
        "struct Token { a: SecretString }\n#[derive(Debug)]\nstruct B { t: TokenEndpoint }",
        "struct Token { a: SecretString }\nimpl Debug for Tokens {\n}",
    ] {
        assert_eq!(of(text), Vec::<String>::new(), "{text}");
    }
}
