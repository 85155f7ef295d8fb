//! Which part of a request an answer blames: the id of the client, its secret or certificate, a gateway, or what the grant sends.

use super::*;

/// The reason, whether the next secret or certificate is tried, and the message.
fn blamed(name: &str, status: u16, kind: &str, body: &str) -> (&'static str, bool, String) {
    let token_error = refused(name, &raw(status, kind, body.as_bytes()));
    let reason = token_error.reason.as_str();
    (reason, token_error.about_client, token_error.message())
}

/// Status, body, reason, and whether the next secret is tried.
type Blamed<'a> = (u16, &'a str, &'a str, bool);

#[test]
fn a_text_that_names_the_secret_beside_the_id_leaves_both_open() {
    #[rustfmt::skip]
    let rows: [Blamed<'_>; 13] = [
        (401, r#"{"error":"invalid_client","error_description":"client not found or invalid client secret"}"#, "ClientRefused", true),
        (401, r#"{"detail":"Incorrect client id or secret"}"#, "ClientRefused", true),
        (401, r#"{"errors":[{"message":"access denied, invalid client id or secret"}]}"#, "ClientRefused", true),
        (400, r#"{"error":"unknown_client","error_description":"No such application, or wrong credentials"}"#, "ClientRefused", true),
        (400, r#"{"error":"Application not found or password incorrect"}"#, "ClientRefused", true),
        (401, r#"{"error":"invalid_client","error_description":"Client is disabled or its credentials are wrong"}"#, "ClientRefused", true),
        // Only the id, or only the state of the client.
        (401, r#"{"error":"invalid_client","error_description":"client not found"}"#, "ClientUnknown", false),
        (401, r#"{"detail":"Incorrect client id"}"#, "ClientUnknown", false),
        // The id has the name of an authenticator in it (WSO2, Cloud Foundry's UAA).
        (401, r#"{"error":"invalid_client","error_description":"A valid OAuth client could not be found for client_id: secret-sync"}"#, "ClientUnknown", false),
        (401, r#"{"error":"invalid_client","error_description":"No client with requested id: password-reset"}"#, "ClientUnknown", false),
        (401, r#"{"error":"invalid_client","error_description":"client is disabled"}"#, "ClientDisabled", false),
        (403, r#"{"error":"client_disabled","error_description":"disabled after too many wrong passwords"}"#, "ClientDisabled", false),
        // Neither of them arrived.
        (400, r#"{"error":"invalid_request","error_description":"client id or secret is missing"}"#, "ClientAuthenticationUnsupported", false),
    ];
    for (status, body, reason, next) in rows {
        let (seen, tried, message) = blamed("cc", status, JSON, body);
        assert_eq!((seen, tried), (reason, next), "{body}: {message}");
    }
}

#[test]
fn the_short_401_of_a_framework_is_about_the_client_as_an_empty_one_is() {
    #[rustfmt::skip]
    let rows: [Blamed<'_>; 16] = [
        // NestJS, and what other frameworks answer by default.
        (401, r#"{"statusCode":401,"message":"Invalid client credentials"}"#, "ClientRefused", true),
        (401, r#"{"statusCode":401,"message":"Unauthorized"}"#, "ClientRefused", true),
        (401, r#"{"message":"Unauthorized","error":401}"#, "ClientRefused", true),
        (401, r#"{"message":"Unauthorized"}"#, "ClientRefused", true),
        (401, r#"{"message":"Unauthorized."}"#, "ClientRefused", true),
        (401, r#"{"message":"Unauthorized: wrong client secret"}"#, "ClientRefused", true),
        (401, r#"{"code":"UNAUTHORIZED","message":"Unauthorized"}"#, "ClientRefused", true),
        (401, r#"{"message":"Invalid authentication credentials"}"#, "ClientRefused", true),
        (400, r#"{"statusCode":400,"message":"scope must be a string"}"#, "InvalidScope", false),
        // What only a gateway answers.
        (401, r#"{"statusCode":401,"message":"Access denied due to invalid subscription key. Make sure to provide a valid key for an active subscription."}"#, "GatewayRefused", false),
        (401, r#"{"statusCode":401,"message":"Unauthorized. Access token is missing or invalid."}"#, "GatewayRefused", false),
        (401, r#"{"statusCode":401,"message":"JWT not present."}"#, "GatewayRefused", false),
        (403, r#"{"statusCode":403,"message":"Forbidden"}"#, "GatewayRefused", false),
        (401, r#"{"message":"No API key found in request","request_id":"1"}"#, "GatewayRefused", false),
        // A wrong secret has another status.
        (403, r#"{"message":"Unauthorized"}"#, "GatewayRefused", false),
        (400, r#"{"message":"Unauthorized"}"#, "GatewayRefused", false),
    ];
    for (status, body, reason, next) in rows {
        let (seen, tried, message) = blamed("cc", status, JSON, body);
        assert_eq!((seen, tried), (reason, next), "{body}: {message}");
        // A gateway of this form stays possible.
        let either = body.contains(r#""Unauthorized"#) || body.contains("authentication cred");
        let named = message.contains("gateway before the token endpoint");
        assert_eq!(
            named,
            either && reason == "ClientRefused",
            "{body}: {message}"
        );
        assert!(
            !message.contains("AWS") || !body.contains("statusCode"),
            "{message}"
        );
    }
    // With an OAuth error the token endpoint itself answered. A refused password is not sent again.
    let auth0 = r#"{"error":"access_denied","error_description":"Unauthorized"}"#;
    let (_, _, message) = blamed("cc", 401, JSON, auth0);
    assert!(!message.contains("gateway"), "{message}");
    let answer = raw(401, JSON, br#"{"message":"Unauthorized"}"#);
    assert!(refused("password", &answer).until_change);
}

#[test]
fn a_server_error_with_the_status_of_a_wrong_secret_is_no_outage() {
    #[rustfmt::skip]
    let rows: [Blamed<'_>; 10] = [
        // ServiceNow, for a wrong id, secret, user name, password or refresh token.
        (401, r#"{"error":"server_error","error_description":"access_denied"}"#, "ClientRefused", true),
        (401, r#"{"error_description":"access_denied","error":"server_error"}"#, "ClientRefused", true),
        (401, r#"{"error":"server_error"}"#, "ClientRefused", true),
        (401, r#"{"error":"internal_error"}"#, "ClientRefused", true),
        (400, r#"{"error":"server_error","error_description":"access_denied"}"#, "ClientRefused", true),
        // The answer names an outage.
        (401, r#"{"error":"server_error","error_description":"Internal error, try again later"}"#, "IssuerUnavailable", false),
        (401, r#"{"error":"server_error","error_description":"Database unavailable"}"#, "IssuerUnavailable", false),
        (401, r#"{"error":"temporarily_unavailable"}"#, "IssuerUnavailable", false),
        (400, r#"{"error":"server_error"}"#, "IssuerUnavailable", false),
        (500, r#"{"error":"server_error","error_description":"access_denied"}"#, "IssuerUnavailable", false),
    ];
    for (status, body, reason, next) in rows {
        let (seen, tried, message) = blamed("cc", status, JSON, body);
        assert_eq!((seen, tried), (reason, next), "{status} {body}: {message}");
    }
    let servicenow = rows[0].1;
    for (name, expected) in [
        ("password", "user name or password"),
        ("refresh", "refresh token"),
    ] {
        let token_error = refused(name, &raw(401, JSON, servicenow.as_bytes()));
        let message = token_error.message();
        assert_eq!(token_error.reason.as_str(), "ClientRefused", "{message}");
        assert!(message.contains(expected), "{message}");
        assert_eq!(token_error.until_change, name == "password", "{message}");
        assert!(!token_error.about_client, "{message}");
    }
}

#[test]
fn a_password_is_not_sent_with_each_client_secret_because_of_a_guess() {
    #[rustfmt::skip]
    let rows = [
        (401, r#"{"error":"server_error","error_description":"access_denied"}"#),
        (400, r#"{"error":"Application not found or password incorrect"}"#),
        (401, r#"{"message":"Invalid password for client id 42"}"#),
        (401, r#"{"message":"Unauthorized"}"#),
    ];
    for (status, body) in rows {
        let (reason, tried, message) = blamed("password", status, JSON, body);
        assert!(!tried, "{body}: {reason}: {message}");
    }
    // The answer is about the client, and shows it.
    let (_, tried, message) = blamed("password", 401, JSON, r#"{"error":"invalid_client"}"#);
    assert!(tried, "{message}");
}

#[test]
fn the_page_of_nginx_about_a_client_certificate_is_known_whatever_server_signs_it() {
    let page = |sentence: &str, server: &str| {
        format!(
            "<html>\r\n<head><title>400 {sentence}</title></head>\r\n<body>\r\n<center><h1>400 Bad Request</h1></center>\r\n<center>{sentence}</center>\r\n<hr><center>{server}</center>\r\n</body>\r\n</html>"
        )
    };
    let (none, wrong) = (
        "No required SSL certificate was sent",
        "The SSL certificate error",
    );
    for server in [
        "nginx",
        "nginx/1.27.3",
        "Microsoft-Azure-Application-Gateway/v2",
        "openresty",
        "tengine",
    ] {
        for (name, sentence, expected, not) in [
            ("cc", none, "received none: set client.mtls", "although"),
            (
                "mtls",
                none,
                "received none, although client.mtls",
                "set client.mtls",
            ),
            (
                "mtls",
                wrong,
                "does not trust the client certificate",
                "received none",
            ),
            (
                "cc",
                wrong,
                "does not trust the client certificate",
                "received none",
            ),
        ] {
            let (reason, tried, message) = blamed(name, 400, HTML, &page(sentence, server));
            // No client secret helps.
            let wanted = ("CertificateRefused", name == "mtls");
            assert_eq!((reason, tried), wanted, "{message}");
            assert!(message.contains(expected), "{server}: {message}");
            assert!(!message.contains(not), "{server}: {message}");
        }
    }
    let (reason, _, message) = blamed("mtls", 495, "", "");
    assert_eq!(reason, "CertificateRefused");
    assert!(message.contains("does not trust"), "{message}");
    let (reason, _, message) = blamed("mtls", 496, "", "");
    assert_eq!(reason, "CertificateRefused");
    assert!(message.contains("received none"), "{message}");
    // Another page of the same server, and one about the certificate of a server.
    for body in ["403 Forbidden", "Invalid SSL certificate"] {
        let (reason, ..) = blamed("mtls", 403, HTML, &page(body, "nginx"));
        assert_eq!(reason, "WebPageReceived", "{body}");
    }
}

/// A credential with an extension grant and this client.
fn extension(client: &Value) -> Credential {
    let parameters = json!([{ "name": "assertion", "secretRef": key() }]);
    let grant = json!({ "extension": { "grantType": "urn:x:y", "parameters": parameters } });
    let issuer = json!({ "oauth2": { "tokenUrl": "https://as.example.com/token" } });
    let issuer = Issuer::cluster(&cluster_issuer(&issuer)).unwrap();
    let change = json!({ "client": client, "grant": grant });
    parse(&object(&change), |_| IssuerLookup::Found(issuer)).unwrap()
}

#[test]
fn a_refused_extension_grant_names_what_it_sends_first() {
    let sap =
        r#"{"errorHttpCode":"401","errorMessage":"Unable to map uid with a valid BizX User ID"}"#;
    let zoom = r#"{"reason":"Bad Request","error":"invalid_request"}"#;
    let client = r#"{"reason":"Invalid client_id or client_secret","error":"invalid_client"}"#;
    let scope = r#"{"error":"invalid_request","error_description":"unknown scope"}"#;
    let public = json!({ "id": "c", "secrets": null, "public": {} });
    let secrets = json!({});
    #[rustfmt::skip]
    let rows: [(&Value, u16, &str, &str, bool, bool); 9] = [
        (&public, 401, sap, "ClientRefused", false, true),
        (&public, 401, "", "ClientRefused", false, true),
        (&public, 401, r#"{"error":"invalid_client"}"#, "ClientRefused", false, true),
        (&public, 400, zoom, "InvalidRequest", false, true),
        (&secrets, 400, zoom, "InvalidRequest", false, true),
        (&secrets, 401, sap, "ClientRefused", true, true),
        (&secrets, 400, r#"{"strange":"1"}"#, "RequestRefused", false, true),
        // The code, or the text, is about something else.
        (&secrets, 400, client, "ClientRefused", true, false),
        (&secrets, 400, scope, "InvalidScope", false, false),
    ];
    for (client, status, body, reason, tried, named) in rows {
        let answer = raw(status, JSON, body.as_bytes());
        let reported = answer_to(&extension(client), &answer, at(0), at(1));
        let token_error = reported.err().expect("a token error");
        let message = token_error.message();
        let seen = (token_error.reason.as_str(), token_error.about_client);
        assert_eq!(seen, (reason, tried), "{body}: {message}");
        let found = message.find("grant.extension.parameters");
        assert_eq!(found.is_some(), named, "{body}: {message}");
        assert!(
            !named || message.contains("the Secrets that they name"),
            "{message}"
        );
        // The client and the usual parameters come after it.
        for later in ["client.id", "public client", "scopes, "] {
            let at = message.find(later);
            assert!(at.is_none() || !named || at > found, "{body}: {message}");
        }
    }
}
