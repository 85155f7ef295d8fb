//! Client secrets, and the other inputs of a grant.

use super::*;

const SECRET: &str = "demo~secret.1";

#[test]
fn the_form_of_a_refused_secret_is_reported_and_not_its_value() {
    let b64 = |text: &str| STANDARD.encode(text);
    let base64 = Some("base64 of something else");
    let (begin, end, inside) = (
        Some(") at its beginning"),
        Some(") at its end"),
        Some(") inside"),
    );
    let placeholder = Some("placeholder");
    let line = Some("whole line");
    #[rustfmt::skip]
    let cases: Vec<(String, Option<&str>)> = [
        (SECRET, None),
        ("c2hvcnQ=", None),
        ("AAAAAAAAAAAAAAAAAAAAAAAA", None),
        ("'", None),
        ("a=b", None), ("Zm9v=", None), ("abc:def", None), ("x%y", None), ("100%", None),
        ("8d7f2c9e4b1a6f3d8e5c7b9a2d4f6e8c", None),
        ("gR7~Q.x_-9kL2mN4pS6tV8wY0zB3cD5fH", None),
        ("wJalrXUtnFEMI/K7MDENG/bPxRfiCYzEXAMPLEKEY", None),
        ("p\u{e4}ssw\u{f6}rt-1", None),
        ("demo~secret.1 ", Some("blank")), (" demo~secret.1", Some("blank")), ("\u{a0}demo~secret.1", Some("blank")),
        ("demo~secret.1\u{3000}", Some("blank")), ("demo~ secret.1", Some("blank inside")), ("demo~\u{a0}secret.1", Some("blank inside")),
        ("demo~secret.1\\n", Some("two characters")),
        ("\u{feff}demo~secret.1", Some("byte order mark")),
        ("demo~secret.1\u{feff}", end), ("\u{200b}demo~secret.1", begin), ("demo~secret.1\u{200b}", end),
        ("demo~secret.1\u{2060}", end), ("\u{ad}demo~secret.1", begin), ("demo~\u{ad}secret.1", inside),
        ("\u{202a}demo~secret.1\u{202c}", begin), ("demo~secret.1\u{200e}", end), ("demo\u{200d}~secret.1", inside),
        ("\u{2066}demo~secret.1", begin), ("demo~secret.1\u{e0020}", end), ("demo~\u{180e}secret.1", inside),
        ("\"demo~secret.1\"", Some("quotation marks")), ("'demo~secret.1'", Some("quotation marks")),
        ("`demo~secret.1`", Some("quotation marks")), ("\u{201c}demo~secret.1\u{201d}", Some("quotation marks")),
        ("\u{201e}demo~secret.1\u{201c}", Some("quotation marks")), ("\u{ab}demo~secret.1\u{bb}", Some("quotation marks")),
        ("\"demo~secret.1\" ", Some("quotation marks")),
        ("demo\u{2013}secret.1", Some("typographic character (U+2013)")), ("demo\u{2026}secret", Some("U+2026")),
        (r#"{"client_secret":"demo~secret.1"}"#, Some("only the value of its field client_secret")),
        (r#"{"appId":"demo","password":"demo~secret.1"}"#, Some("only the value of its field password")),
        (r#" {"demo":"demo~secret.1"} "#, Some("JSON object; store only the value")),
        (r#"["demo~secret.1"]"#, Some("JSON array")),
        ("6f1c8f0e-8a3d-4b7e-9c55-0d2f1e6a7b8c", Some("a GUID")), ("{6F1C8F0E-8A3D-4B7E-9C55-0D2F1E6A7B8C}", Some("a GUID")),
        ("demo%7Esecret.1", Some("URL-encoded")), ("demo%2Bsecret%2F1", Some("URL-encoded")),
        ("-----BEGIN CERTIFICATE----- MAA= -----END CERTIFICATE-----", Some("PEM")),
        ("changeme", placeholder), ("CHANGE_ME", placeholder), ("<client-secret>", placeholder), ("${CLIENT_SECRET}", placeholder),
        ("{{ .Values.secret }}", placeholder), ("$(CLIENT_SECRET)", placeholder), ("%CLIENT_SECRET%", placeholder), ("TODO", placeholder),
        ("your-client-secret", placeholder), ("********", placeholder), ("[redacted]", placeholder), ("REPLACE-ME", placeholder),
        ("$CLIENT_SECRET", placeholder), ("$AZURE_KEY_2", Some("variable")),
        ("CLIENT_SECRET=demo~secret.1", line), ("export AZURE_CLIENT_SECRET=demo~secret.1", line), ("client-secret: demo~secret.1", line),
        ("password=demo~secret.1", line), ("AZURE_KEY=demo~secret.1", line),
        ("Bearer demo~secret.1", Some("Authorization header")), ("Basic ZGVtbzpkZW1v", Some("Authorization header")),
        ("https://demo.vault.azure.net/secrets/demo", Some("reference")), ("@Microsoft.KeyVault(SecretUri=https://demo/)", Some("reference")),
        ("op://demo/demo/demo", Some("reference")), ("https://demo.example/demo", Some("a URL")),
        ("64656d6f7e7365637265742e31", Some("hexadecimal")),
        ("demo-client", Some("the id of the client")), ("DEMO-CLIENT ", Some("the id of the client")), ("demo-client-2", None),
        ("REPLACE_ME", placeholder), ("<secret>", placeholder), ("secret=demo~secret.1", line), ("bearer demo~secret.1", Some("Authorization header")),
    ]
    .into_iter()
    .map(|(text, reported)| (text.to_owned(), reported))
    .chain([
        (b64(SECRET), base64),
        (b64(&format!("{SECRET}\n")), Some("with a line end after it")),
        (b64(&format!("{SECRET}\r\n")), Some("with a line end after it")),
        (b64(SECRET).trim_end_matches('=').to_owned(), base64),
        (URL_SAFE.encode("demo>>secret??1"), base64),
        (URL_SAFE_NO_PAD.encode("demo>>secret??12"), base64),
        (b64(&format!("{{\"client_secret\":\"{SECRET}\"}}")), Some("base64 of a JSON object")),
        (b64("-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n"), Some("base64 of PEM")),
        (b64(&format!("\u{feff}{SECRET}")), base64),
        (b64(&b64(SECRET)), base64),
    ])
    .collect();
    for (stored, reported) in cases {
        let material = Material::from_secret_bytes(stored.as_bytes())
            .unwrap_or_else(|problem| panic!("{stored}: {problem}"));
        match (material.odd("demo-client"), reported) {
            (None, None) => {}
            (Some(odd), Some(expected_part)) => {
                assert!(odd.contains(expected_part), "{stored}: {odd}");
                assert!(!odd.contains("demo"), "{stored}: {odd}");
                assert_eq!(odd, crate::printable::printable(&odd));
            }
            (odd, _) => panic!("{stored}: {odd:?}"),
        }
    }
    assert_eq!(Material::None.odd(""), None);
}

#[test]
fn what_a_grant_uses_is_checked_as_well() {
    let key = || json!({ "name": "s", "key": "k" });
    let grant = |spec: Value| {
        let issuer = json!({ "oauth2": { "tokenUrl": "https://as.example.com/token" } });
        let issuer = Issuer::cluster(&cluster_issuer(&issuer)).unwrap();
        let change = json!({ "grant": spec });
        let parsed = parse(&object(&change), |_| IssuerLookup::Found(issuer));
        parsed.unwrap().grant
    };
    let refresh = grant(json!({ "refreshToken": { "secretRef": key() } }));
    let password = grant(json!({ "password": { "username": "ada", "passwordRef": key() } }));
    let bearer = grant(json!({ "jwtBearer": { "assertionRef": key() } }));
    let exchange = grant(json!({ "tokenExchange": {
        "subject": { "serviceAccount": { "name": "robot" } }, "actor": { "secretRef": key() },
    } }));
    let rt = "refresh token";
    #[rustfmt::skip]
    let rows = [
        (&refresh, "1//0gDemo-rt", None),
        (&refresh, "ZGVtb35zZWNyZXQuMQ==", None),
        (&refresh, "6f1c8f0e-8a3d-4b7e-9c55-0d2f1e6a7b8c", None),
        (&refresh, "1%2F%2F0gDemo", Some((rt, "URL-encoded"))),
        (&refresh, "\"demo-rt\"", Some((rt, "quotation"))),
        (&refresh, "refresh_token=demo-rt", Some((rt, "whole line"))),
        (&refresh, "{\"refresh_token\":\"demo\"}", Some((rt, "JSON object; store only the value of its field refresh_token"))),
        (&refresh, "https://demo.example/cb?code=1", Some((rt, "URL"))),
        (&password, "correct horse battery", None),
        (&password, "demo:secret=1", None),
        (&password, " demo", Some(("password", "blank"))),
        (&password, "changeme", Some(("password", "placeholder"))),
        (&password, "ZGVtb35zZWNyZXQuMQ==", Some(("password", "base64"))),
        (&bearer, "eyJhbGciOiJub25lIn0.e30.c2ln", None),
        (&bearer, "Bearer eyJhbGciOiJub25lIn0.e30.c2ln", Some(("token", "Authorization header"))),
        (&bearer, "ZXlKaGJHY2lPaUp1YjI1bEluMC5lMzAuYzJsbg==", Some(("token", "base64"))),
        (&exchange, "null", Some(("token", "placeholder"))),
    ];
    for (grant, stored, reported) in rows {
        let stored_at = grant.needs().iter().position(|n| n.reference().is_some());
        let mut grant_inputs: Vec<SecretString> = Vec::new();
        grant_inputs.extend((0..stored_at.unwrap()).map(|_| SecretString::from("")));
        grant_inputs.push(SecretString::from(stored));
        let odd = odd_grant_input(grant, &grant_inputs);
        assert_eq!(
            odd.as_ref().map(|o| (o.place, o.noun)),
            reported.map(|t| (0, t.0)),
            "{stored}"
        );
        if let (Some(odd), Some((_, expected_part))) = (odd, reported) {
            assert!(
                odd.form.contains(expected_part) && !odd.form.contains("demo"),
                "{}",
                odd.form
            );
        }
    }
}
