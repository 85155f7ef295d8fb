use super::*;
use crate::{
    credential::{Issuer, IssuerLookup, parse},
    fixtures::{at, cluster_issuer, json_answer, object, token},
    oauth::LifetimeSource,
};

fn credential(issuer: &Value, change: &Value) -> Credential {
    let issuer = Issuer::cluster(&cluster_issuer(issuer)).unwrap();
    parse(&object(change), |_| IssuerLookup::Found(issuer)).unwrap()
}

fn registry() -> Credential {
    let second = json!({ "azureContainerRegistry": { "registry": "Contoso.azurecr.io" } });
    let issuer = json!({ "entra": { "tenantId": "contoso.example" }, "secondRequest": second });
    credential(&issuer, &json!({}))
}

fn google(scopes: &Value) -> Credential {
    let second = json!({ "googleServiceAccount": { "email": "robot@p.example" } });
    let sts = json!({ "tokenUrl": "https://sts.googleapis.com/v1/token" });
    let issuer = json!({ "oauth2": sts, "secondRequest": second });
    credential(&issuer, &json!({ "scopes": scopes }))
}

fn jwt(claims: &Value) -> String {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims.to_string()))
}

fn read(credential: &Credential, status: u16, body: &Value) -> Result<Token, TokenError> {
    let raw = json_answer(status, body);
    let context = AnswerContext {
        sent: at(0),
        now: at(1),
        assumed_lifetime: None,
    };
    second_answer(credential, &raw, context)
}

#[test]
fn the_registry_gets_a_form_and_google_gets_json() {
    let request = second_request(&registry(), &token("t+1")).unwrap();
    assert_eq!(
        request.url.as_str(),
        "https://contoso.azurecr.io/oauth2/exchange"
    );
    assert_eq!(request.method, Method::Post);
    assert_eq!(
        request.body.expose_secret(),
        "grant_type=access_token&service=contoso.azurecr.io&tenant=contoso.example&access_token=t%2B1"
    );
    let header = |request: &TokenRequest| {
        let mut all = request.headers.iter();
        all.find(|(name, _)| *name == "authorization")
            .map(|(_, value)| value.expose_secret().to_owned())
    };
    assert_eq!(header(&request), None);
    let wanted = json!(["https://www.googleapis.com/auth/devstorage.read_only"]);
    for (scopes, sent) in [
        (wanted.clone(), wanted),
        (json!(null), json!([GOOGLE_SCOPE])),
    ] {
        let request = second_request(&google(&scopes), &token("t+1")).unwrap();
        assert_eq!(request.method, Method::PostJson);
        assert_eq!(header(&request).as_deref(), Some("Bearer t+1"));
        let body: Value = serde_json::from_str(request.body.expose_secret()).unwrap();
        assert_eq!(body, json!({ "scope": sent }));
    }
    let plain = json!({ "entra": { "tenantId": "contoso.example" } });
    assert!(second_request(&credential(&plain, &json!({})), &token("t")).is_none());
}

#[test]
fn the_second_token_has_its_own_lifetime() {
    let answer = json!({ "accessToken": "ya29.x", "expireTime": at(3600).to_string() });
    let read_token = read(&google(&json!(["s"])), 200, &answer).ok().unwrap();
    assert_eq!(read_token.secret.expose_secret(), "ya29.x");
    assert_eq!(read_token.expires_at, at(3600));
    let jwt = jwt(&json!({ "exp": at(10_800).as_second(), "iat": at(0).as_second() }));
    let read_token = read(&registry(), 200, &json!({ "refresh_token": jwt }))
        .ok()
        .unwrap();
    assert_eq!(read_token.secret.expose_secret(), jwt);
    assert_eq!(read_token.expires_at, at(10_800));
    assert_eq!(read_token.lifetime_source, LifetimeSource::Jwt);
    assert!(read_token.refresh_token.is_none() && read_token.answer.len() == 1);
}

#[test]
fn a_token_error_names_what_to_grant_and_blames_no_client_secret() {
    let unauthorized =
        json!({ "errors": [{ "code": "UNAUTHORIZED", "message": "authentication required" }] });
    let denied =
        json!({ "error": { "code": 403, "status": "PERMISSION_DENIED", "message": "denied" } });
    let invalid = json!({ "error": "invalid_client" });
    for (credential, status, body, words) in [
        (registry(), 401, &unauthorized, "AcrPull"),
        (registry(), 401, &invalid, "AcrPull"),
        (registry(), 404, &json!({}), "correct secondRequest"),
        (google(&json!(["s"])), 403, &denied, "workloadIdentityUser"),
        (google(&json!(["s"])), 401, &denied, "workloadIdentityUser"),
        (
            google(&json!(["s"])),
            404,
            &json!({}),
            "there is no service account",
        ),
        (
            google(&json!(["s"])),
            400,
            &json!({ "error": "invalid_scope" }),
            "check spec.scopes",
        ),
    ] {
        let token_error = read(&credential, status, body).err().unwrap();
        assert_eq!(
            token_error.reason,
            Reason::SecondRequestRefused,
            "{status} {body}"
        );
        assert_eq!(token_error.class, Class::Denied);
        assert!(
            !token_error.about_client && token_error.message().contains(words),
            "{token_error:?}"
        );
    }
    for (status, class) in [(503, Class::Transient), (429, Class::Throttled)] {
        let token_error = read(&registry(), status, &json!({})).err().unwrap();
        assert_eq!(token_error.class, class);
        assert!(!token_error.about_client);
    }
}

#[test]
fn a_cause_in_the_text_has_its_own_next_step_and_the_message_names_the_host() {
    let google_error = |code: u16, status: &str, message: &str| json!({ "error": { "code": code, "message": message, "status": status } });
    let registry_error =
        |message: &str| json!({ "errors": [{ "code": "DENIED", "message": message }] });
    let api = "IAM Service Account Credentials API has not been used in project 1 before or it is disabled. Enable it by visiting https://console.example";
    #[rustfmt::skip]
    let cases = vec![
        (google(&json!(["s"])), 400, google_error(400, "FAILED_PRECONDITION", "Service account is disabled."), "robot@p.example is disabled"),
        (google(&json!(["s"])), 403, google_error(403, "PERMISSION_DENIED", "The service account has been DISABLED."), "robot@p.example is disabled"),
        (google(&json!(["s"])), 403, google_error(403, "PERMISSION_DENIED", "Request is prohibited by organization's policy. vpcServiceControlsUniqueIdentifier: a"), "VPC Service Controls"),
        (google(&json!(["s"])), 403, google_error(403, "PERMISSION_DENIED", api), "enable the IAM Service Account Credentials API"),
        (google(&json!(["s"])), 403, google_error(403, "PERMISSION_DENIED", "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist)."), "workloadIdentityUser"),
        (google(&json!(["s"])), 400, google_error(400, "INVALID_ARGUMENT", "Request contains an invalid argument."), "check spec.scopes"),
        (registry(), 403, registry_error("client with IP '192.0.2.7' is not allowed access. Refer https://aka.ms/acr/firewall to grant access."), "network rules of contoso.azurecr.io"),
        (registry(), 403, registry_error("Public network access is disabled for this registry"), "network rules of contoso.azurecr.io"),
        (registry(), 401, registry_error("authentication required"), "AcrPull"),
    ];
    for (credential, status, body, words) in cases {
        let token_error = read(&credential, status, &body).err().unwrap();
        let message = token_error.message();
        assert_eq!(
            token_error.reason,
            Reason::SecondRequestRefused,
            "{message}"
        );
        assert!(message.contains(words), "{message}");
        for advice in ["AcrPull", "workloadIdentityUser", "spec.scopes"] {
            assert_eq!(
                message.contains(advice),
                words.contains(advice),
                "{message}"
            );
        }
        let host = credential
            .issuer
            .hop
            .as_ref()
            .unwrap()
            .url()
            .host_str()
            .unwrap();
        assert!(
            message.starts_with(&format!("https://{host} answered HTTP {status}")),
            "{message}"
        );
    }
    // Errors that another attempt may end, and answers that cannot be used, name the host as well.
    for (status, body) in [(503, json!({})), (429, json!({})), (200, json!({}))] {
        let message = read(&registry(), status, &body).err().unwrap().message();
        assert!(
            message.starts_with("https://contoso.azurecr.io answered"),
            "{message}"
        );
    }
}

/// The answers of the registry, Google and GitHub are checked in the same way.
#[test]
fn an_answer_that_cannot_be_used_is_not_refused() {
    use Reason::{MalformedAnswer, RedirectRefused, TokenExpired, TokenTooLarge};

    let google = google(&json!(["s"]));
    let at_registry = |token: Value| json!({ "refresh_token": token });
    let at_google =
        |token: Value, end: i64| json!({ "accessToken": token, "expireTime": at(end).to_string() });
    let jwt = |end: i64| json!(jwt(&json!({ "exp": at(end).as_second() })));
    let access = json!({ "access_token": jwt(10_800) });
    let inside = json!({ "result": { "accessToken": "ya29.x" } });
    let long = "x".repeat(300 * 1024);
    #[rustfmt::skip]
    let cases = vec![
        (registry(), 200, at_registry(jwt(-7200)), TokenExpired, "compare the clocks"),
        (google.clone(), 200, at_google(json!("ya29.x"), -7200), TokenExpired, "compare the clocks"),
        (registry(), 200, at_registry(json!("a\nb")), MalformedAnswer, "visible ASCII"),
        (google.clone(), 200, at_google(json!("a\nb"), 3600), MalformedAnswer, "visible ASCII"),
        (registry(), 200, at_registry(json!(long)), TokenTooLarge, "256 KiB"),
        (registry(), 200, at_registry(json!("null")), MalformedAnswer, "instead of its refresh_token"),
        (registry(), 200, at_registry(json!([1])), MalformedAnswer, "field refresh_token that is not a text"),
        (google.clone(), 200, at_google(json!([1]), 3600), MalformedAnswer, "field accessToken that is not a text"),
        // No docker client accepts the registry's access token as a password.
        (registry(), 200, access, MalformedAnswer, "has access_token and no refresh_token"),
        (registry(), 200, json!({}), MalformedAnswer, "without refresh_token; check secondRequest.azureContainerRegistry"),
        (google.clone(), 200, json!({ "id": 1 }), MalformedAnswer, "without accessToken; check secondRequest.googleServiceAccount"),
        (google.clone(), 200, inside, MalformedAnswer, "has its accessToken inside"),
        (registry(), 302, json!({}), RedirectRefused, "contoso.azurecr.io redirects the second request"),
        (google.clone(), 307, json!({}), RedirectRefused, "secondRequest.googleServiceAccount.endpoint"),
    ];
    for (credential, status, body, reason, words) in cases {
        let token_error = read(&credential, status, &body).err().unwrap();
        let message = token_error.message();
        assert_eq!(token_error.reason, reason, "{message}");
        assert!(message.contains(words), "{message}");
        for advice in ["AcrPull", "workloadIdentityUser", "token endpoint"] {
            assert!(!message.contains(advice), "{message}");
        }
        assert!(!token_error.about_client);
    }
    // A page comes from a server in between.
    for (credential, status, reason) in [
        (registry(), 403, Reason::WebPageReceived),
        (registry(), 404, Reason::EndpointNotFound),
        (google.clone(), 404, Reason::EndpointNotFound),
    ] {
        let raw = RawAnswer {
            content_type: Some("text/html".to_owned()),
            ..RawAnswer::new(status, b"<!DOCTYPE html><html>no</html>".to_vec())
        };
        let context = AnswerContext {
            sent: at(0),
            now: at(1),
            assumed_lifetime: None,
        };
        let token_error = second_answer(&credential, &raw, context).err().unwrap();
        let message = token_error.message();
        assert_eq!(token_error.reason, reason, "{message}");
        assert!(!message.contains("AcrPull") && !message.contains("no service account"));
    }
}

#[test]
fn the_first_request_to_google_has_the_scope_of_the_exchange() {
    let endpoint = crate::oauth::known_endpoint(&google(&json!(["s"]))).unwrap();
    let moment = crate::oauth::RequestContext {
        now: at(0),
        request_id: "r",
        assertion_id: "a",
    };
    let material = crate::oauth::Material::Secret(SecretString::from("s"));
    let made = crate::oauth::request(&google(&json!(["s"])), &endpoint, &material, &[], moment);
    let body = made.ok().unwrap().body;
    assert!(
        body.expose_secret()
            .contains("scope=https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fcloud-platform")
    );
}
