//! What the user brings back is redeemed: a code, or a device code; and issuers that do not have the endpoint.

use super::*;

#[test]
fn a_code_is_redeemed_as_in_rfc_6749_section_4_1_3_and_rfc_7636_section_4_5() {
    let change = json!({ "client": { "public": null, "secrets": [{ "name": "n", "key": "k" }] } });
    let (credential, endpoint) = ready(&user_at(&oauth2(), &change), None);
    let secret = Material::Secret(SecretString::from("gX1fBat3bV"));
    let (code, verifier) = (
        SecretString::from("SplxlOBeZQQYbYS6WxSbIA"),
        SecretString::from(VERIFIER),
    );
    let ticket = RedeemableCode::Code {
        code: &code,
        redirect_uri: "https://client.example.com/cb",
        verifier: &verifier,
    };
    let made = request(redemption(
        &credential,
        &endpoint,
        &secret,
        &ticket,
        moment(),
    ));
    assert_eq!(
        header(&made, "authorization").as_deref(),
        Some("Basic czZCaGRSa3F0MzpnWDFmQmF0M2JW")
    );
    assert_eq!(
        body(&made),
        format!(
            "grant_type=authorization_code&code=SplxlOBeZQQYbYS6WxSbIA\
             &redirect_uri=https%3A%2F%2Fclient.example.com%2Fcb&code_verifier={VERIFIER}"
        )
    );
    assert_eq!(made.url.as_str(), "https://server.example.com/token");

    let change = json!({ "parameters": [{ "name": "redirect_uri", "value": "x" }, { "name": "realm", "value": "blue" }] });
    let (credential, endpoint) = ready(&user_at(&oidc(), &change), Some(found(None)));
    let none = Material::None;
    let made = request(redemption(&credential, &endpoint, &none, &ticket, moment()));
    let end = "&client_id=s6BhdRkqt3&realm=blue";
    assert!(body(&made).ends_with(end), "{}", body(&made));
}

#[test]
fn a_device_code_is_requested_and_redeemed_as_in_rfc_8628() {
    let change = json!({ "client": { "id": "1406020730" }, "scopes": ["example_scope"] });
    let (credential, endpoint) = ready(&user_at(&oauth2(), &change), None);
    let none = Material::None;
    let made = request(device_request(
        &credential,
        &endpoint,
        &none,
        None,
        moment(),
    ));
    assert_eq!(
        made.url.as_str(),
        "https://server.example.com/device_authorization"
    );
    // Section 3.1; the order of fields has no meaning.
    assert_eq!(body(&made), "scope=example_scope&client_id=1406020730");
    let code = SecretString::from("GmRhmhcxhwAzkoEqiMEg_DnyEysNkuNhszIySk9eS");
    let ticket = RedeemableCode::Device {
        code: &code,
        verifier: None,
    };
    let made = request(redemption(&credential, &endpoint, &none, &ticket, moment()));
    // Section 3.4.
    assert_eq!(
        body(&made),
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code\
         &device_code=GmRhmhcxhwAzkoEqiMEg_DnyEysNkuNhszIySk9eS&client_id=1406020730"
    );
    let authenticated = request(device_request(
        &credential,
        &endpoint,
        &none,
        Some(CHALLENGE),
        moment(),
    ));
    assert!(
        body(&authenticated).contains(&format!(
            "&code_challenge={CHALLENGE}&code_challenge_method=S256"
        )),
        "{}",
        body(&authenticated)
    );
}

#[test]
fn an_issuer_without_the_endpoint_is_reported_before_anything_is_sent() {
    let bare = json!({ "oauth2": { "tokenUrl": "https://server.example.com/token" } });
    let (credential, endpoint) = ready(&user_at(&bare, &json!({})), None);
    let reported = url(&credential, &endpoint).unwrap_err();
    assert_eq!(reported.reason.as_str(), "SignInNotPossible");
    assert!(
        reported
            .next_step
            .to_string()
            .contains("oauth2.authorizationUrl"),
        "{}",
        reported.next_step
    );
    let reported = device_request(&credential, &endpoint, &Material::None, None, moment());
    let reported = reported.err().unwrap();
    assert!(
        reported
            .next_step
            .to_string()
            .contains("oauth2.deviceAuthorizationUrl"),
        "{}",
        reported.next_step
    );
}

#[test]
fn an_endpoint_that_is_not_https_is_reported_with_its_address() {
    let document = json!({
        "issuer": "https://server.example.com", "token_endpoint": "https://server.example.com/token",
        "authorization_endpoint": "http://server.example.com/authorize",
        "device_authorization_endpoint": "http://server.example.com/device",
    });
    let document = document.to_string();
    let issuer = "https://server.example.com";
    let endpoint = crate::oauth::discovery::read(issuer, document.as_bytes(), None).unwrap();
    let (credential, endpoint) = ready(&user_at(&oidc(), &json!({})), Some(endpoint));
    let device = device_request(&credential, &endpoint, &Material::None, None, moment());
    for (reported, field, other) in [
        (
            url(&credential, &endpoint).unwrap_err(),
            "authorization_endpoint",
            "try --device",
        ),
        (
            device.err().unwrap(),
            "device_authorization_endpoint",
            "leave --device out",
        ),
    ] {
        let message = reported.next_step.to_string();
        assert_eq!(reported.reason.as_str(), "SignInNotPossible");
        let names = format!("names no https {field} but one at http://server.example.com; correct");
        assert!(message.contains(&names), "{message}");
        assert!(message.contains("terminates TLS"), "{message}");
        assert!(message.ends_with(other), "{message}");
    }
}

/// The authorization request, the device authorization request, the redemption of a code and the refresh of one credential.
fn all_requests(change: &serde_json::Value) -> [Vec<(String, String)>; 4] {
    let (credential, endpoint) = ready(&user_at(&oauth2(), change), None);
    let (none, text) = (Material::None, SecretString::from("x"));
    let page = url(&credential, &endpoint).unwrap();
    let ticket = RedeemableCode::Code {
        code: &text,
        redirect_uri: "https://client.example.com/cb",
        verifier: &text,
    };
    let device = device_request(&credential, &endpoint, &none, None, moment());
    let code = redemption(&credential, &endpoint, &none, &ticket, moment());
    let token = [text.clone()];
    let refresh = crate::oauth::request(&credential, &endpoint, &none, &token, moment());
    let [device, code, refresh] = [device, code, refresh].map(|made| pairs(body(&request(made))));
    [pairs(page.query().unwrap()), device, code, refresh]
}

#[test]
fn parameters_of_the_authorization_request_are_not_sent_to_the_token_endpoint() {
    #[rustfmt::skip]
    let cases = [
        // Google: "Parameter not allowed for this message type: access_type".
        ("access_type", [true, false, false, false]),
        ("include_granted_scopes", [true, false, false, false]),
        ("token_access_type", [true, false, false, false]),
        ("prompt", [true, false, false, false]),
        ("display", [true, false, false, false]),
        ("hd", [true, false, false, false]),
        // A user signs in with a device code too.
        ("login_hint", [true, true, false, false]),
        ("domain_hint", [true, true, false, false]),
        ("acr_values", [true, true, false, false]),
        ("max_age", [true, true, false, false]),
        ("ui_locales", [true, true, false, false]),
        // Names of the issuer, and those that both endpoints may need.
        ("organization", [true, true, true, true]),
        ("claims", [true, true, true, true]),
        ("authorization_details", [true, true, true, true]),
    ];
    for (name, sent) in cases {
        let change = json!({ "parameters": [{ "name": name, "value": "the-value" }] });
        let has =
            |query: Vec<(String, String)>| query.iter().any(|(n, v)| n == name && v == "the-value");
        assert_eq!(all_requests(&change).map(has), sent, "{name}");
    }
    let own = json!({ "resources": ["https://a.example"], "audience": "orders" });
    let has = |name: &str| all_requests(&own).map(|query| query.iter().any(|(n, _)| n == name));
    assert_eq!(has("resource"), [true; 4]);
    assert_eq!(has("audience"), [true, true, false, true]);
}
