//! Recognizes answers that do not come from a token endpoint: web pages, API gateways, proxies.
//!
//! They are recognized by their form. Such an answer shows nothing about the client or the token of the request.

use serde_json::{Map, Value};

use super::RawAnswer;

/// Who answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum By {
    /// A web page or another document: HTML, XML.
    Page,
    /// A web server that requires a client certificate, and received none.
    NoCertificate,
    /// A web server that does not trust the client certificate that it received.
    CertificateNotTrusted,
    /// A gateway or proxy of this name.
    Gateway(&'static str),
}

/// Largest part of a body that is searched.
const MOST: usize = 8 * 1024;

/// Texts that gateways answer instead of JSON, in lower case. Each is the beginning of the text.
#[rustfmt::skip]
const TEXTS: &[(&str, &str)] = &[
    ("rbac: access denied", "Envoy or Istio"),
    ("jwt is missing", "Envoy or Istio"),
    ("jwt verification fails", "Envoy or Istio"),
    ("jwks doesn't have key", "Envoy or Istio"),
    ("audiences in jwt are not allowed", "Envoy or Istio"),
    ("ext_authz", "Envoy or Istio"),
    ("upstream connect error", "Envoy or Istio"),
    ("no healthy upstream", "Envoy or Istio"),
    ("error code: 10", "Cloudflare"),
    ("error code: 5", "Cloudflare"),
    ("fastly error", "Fastly"),
    ("default backend - ", "an ingress controller"),
    ("404 page not found", "an ingress controller"),
    ("access denied by security policy", "a firewall"),
    ("host not in allowlist", "a proxy"),
    ("blocked by", "a proxy"),
];

/// Values of `message` in JSON without an OAuth `error`, in lower case. Each is the beginning of the value.
///
/// Azure API Management: learn.microsoft.com/azure/api-management, policies `validate-jwt`, `quota` and `ip-filter`.
#[rustfmt::skip]
const MESSAGES: &[(&str, &str)] = &[
    ("forbidden", "AWS API Gateway"),
    ("missing authentication token", "AWS API Gateway"),
    ("user is not authorized to access this resource", "AWS API Gateway"),
    ("invalid key=value pair (missing equal-sign) in authorization header", "AWS API Gateway"),
    ("authorization header requires", "AWS API Gateway"),
    ("access denied due to", "Azure API Management"),
    ("resource not found", "Azure API Management"),
    ("out of call volume quota", "Azure API Management"),
    ("out of bandwidth quota", "Azure API Management"),
    ("unauthorized. access token", "Azure API Management"),
    ("jwt not present", "Azure API Management"),
    ("no route matched", "Kong"),
    ("no api key found", "Kong"),
    ("your ip address is not allowed", "Kong"),
    ("ip address not allowed", "Kong"),
    ("invalid authentication credentials", EITHER),
    ("unauthorized", EITHER),
];
/// With status 401, a token endpoint that a web framework built (`NestJS`, Express) and a gateway answer the same.
const EITHER: &str = "an API gateway";

/// Sentences of nginx's pages with status 400; it uses 495 and 496 only internally. Servers that are built on it have another
/// name at the end of the page: Azure Application Gateway, openresty, tengine.
const CERTIFICATES: [(&str, By); 2] = [
    ("no required ssl certificate was sent", By::NoCertificate),
    ("the ssl certificate error", By::CertificateNotTrusted),
];

/// Returns who answered, if it was not a token endpoint. `fields` are those of the body, if it has any.
pub(super) fn by(raw: &RawAnswer, fields: Option<&Map<String, Value>>) -> Option<By> {
    if let Some(fields) = fields {
        return by_fields(raw.status, fields);
    }
    let head = &raw.body[..raw.body.len().min(MOST)];
    let text = String::from_utf8_lossy(head).to_lowercase();
    let text = text.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']);
    let kind = raw.content_type.as_deref().unwrap_or_default();
    let kind = kind.to_ascii_lowercase();
    let document = [
        "text/html",
        "application/xhtml",
        "text/xml",
        "application/xml",
    ]
    .iter()
    .any(|k| kind.starts_with(k));
    if document || text.starts_with("<!doctype") || text.starts_with("<html") {
        let certificate = CERTIFICATES
            .iter()
            .find(|(sentence, _)| text.contains(sentence));
        if let Some((_, by)) = certificate {
            return Some(*by);
        }
        // A server that authenticates clients itself sends a Basic challenge. Its page is then about the client.
        let challenge = raw.challenge.as_deref().unwrap_or_default();
        let basic = challenge.to_ascii_lowercase().starts_with("basic");
        return (!basic).then_some(By::Page);
    }
    let known = TEXTS.iter().find(|(begin, _)| text.starts_with(begin));
    known.map(|(_, name)| By::Gateway(name))
}

fn by_fields(status: u16, fields: &Map<String, Value>) -> Option<By> {
    // An OAuth error comes from a token endpoint, whatever the other fields are.
    if fields.get("error").is_some_and(Value::is_string) {
        return None;
    }
    // Apigee. Its policy for tokens is a token endpoint.
    if apigee_code(fields).is_some() {
        return None;
    }
    if fields
        .get("fault")
        .and_then(|f| f.get("faultstring"))
        .is_some()
    {
        return Some(By::Gateway("Apigee"));
    }
    let message = ["message", "Message", "msg"]
        .iter()
        .find_map(|name| fields.get(*name)?.as_str())?
        .to_lowercase();
    // Other servers have further fields, such as a code.
    let name = of_message(&message).filter(|_| fields.len() <= 3)?;
    match (name, fields.get("statusCode")) {
        (EITHER, _) if status == 401 => None,
        // Azure API Management (`ip-filter`), and frameworks.
        ("AWS API Gateway", Some(Value::Number(_))) => Some(By::Gateway("an API gateway")),
        _ => Some(By::Gateway(name)),
    }
}

fn of_message(message: &str) -> Option<&'static str> {
    let known = MESSAGES
        .iter()
        .find(|(begin, _)| message.starts_with(begin));
    known.map(|(_, name)| *name)
}

/// True for a text, in lower case, that a gateway and a token endpoint answer alike with status 401.
pub(super) fn is_of_either(text: &str) -> bool {
    of_message(text) == Some(EITHER)
}

/// The code of a fault of Apigee's policy `OAuthV2`, without its prefix.
pub(super) fn apigee_code(fields: &Map<String, Value>) -> Option<&str> {
    let code = fields.get("fault")?.get("detail")?.get("errorcode")?;
    let code = code.as_str()?;
    let code = code.strip_prefix("steps.").unwrap_or(code);
    code.strip_prefix("oauth.v2.")
}

/// Parts of a path of a login page, without their extension.
const LOGIN: [&str; 9] = [
    "login", "logon", "log-in", "signin", "sign-in", "sign_in", "sso", "saml", "saml2",
];

/// True if a redirect leads to a login page. Frameworks (Spring, Django) redirect requests for a path that does not exist or
/// is not public, and proxies (oauth2-proxy, Cloudflare Access) redirect requests without a session.
pub(super) fn is_login_page(location: &str) -> bool {
    let path = location.split(['?', '#']).next().unwrap_or_default();
    let path = path.split_once("://").map_or(path, |(_, rest)| {
        rest.split_once('/').map_or("", |(_, path)| path)
    });
    path.split('/').any(|part| {
        let name = part.split([';', '.']).next().unwrap_or_default();
        LOGIN.iter().any(|login| name.eq_ignore_ascii_case(login))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Content type, challenge and body, and who answered.
    type Case<'a> = (Option<&'a str>, Option<&'a str>, &'a [u8], Option<By>);

    #[test]
    fn gateways_and_pages_are_recognized_by_their_form() {
        let html = Some("text/html; charset=utf-8");
        let plain = Some("text/plain");
        let page = b"<!DOCTYPE html><html>Attention Required! | Cloudflare</html>";
        #[rustfmt::skip]
        let texts: [Case<'_>; 15] = [
            (html, None, page, Some(By::Page)),
            (None, None, page, Some(By::Page)),
            (html, None, b"", Some(By::Page)),
            (html, Some("Negotiate"), page, Some(By::Page)),
            (html, Some("Basic realm=\"oauth\""), page, None),
            (Some("application/xml"), None, b"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>", Some(By::Page)),
            (html, None, b"<html><h1>400 Bad Request</h1>No required SSL certificate was sent<hr>nginx</html>", Some(By::NoCertificate)),
            (html, None, b"<html><h1>400 Bad Request</h1>The SSL certificate error<hr>openresty</html>", Some(By::CertificateNotTrusted)),
            (html, None, b"<html><h1>400 Bad Request</h1>The plain HTTP request was sent to HTTPS port<hr>nginx</html>", Some(By::Page)),
            (plain, None, b"RBAC: access denied", Some(By::Gateway("Envoy or Istio"))),
            (plain, None, b"error code: 1020", Some(By::Gateway("Cloudflare"))),
            (plain, None, b"default backend - 404", Some(By::Gateway("an ingress controller"))),
            (plain, None, b"Forbidden", None),
            (None, None, b"", None),
            (plain, None, b"invalid_client", None),
        ];
        for (kind, challenge, body, expected) in texts {
            let raw = RawAnswer {
                content_type: kind.map(str::to_owned),
                challenge: challenge.map(str::to_owned),
                ..RawAnswer::new(400, body.to_vec())
            };
            let shown = String::from_utf8_lossy(body).into_owned();
            assert_eq!(by(&raw, None), expected, "{shown}");
        }
        let gateway = |name| Some(By::Gateway(name));
        for (body, expected) in [
            (
                json!({ "message": "Forbidden" }),
                gateway("AWS API Gateway"),
            ),
            (
                json!({ "message": "Missing Authentication Token" }),
                gateway("AWS API Gateway"),
            ),
            (
                json!({ "statusCode": 401, "message": "Access denied due to missing subscription key." }),
                gateway("Azure API Management"),
            ),
            (
                json!({ "message": "no Route matched with those values", "request_id": "1" }),
                gateway("Kong"),
            ),
            (
                json!({ "message": "No API key found in request" }),
                gateway("Kong"),
            ),
            (
                json!({ "fault": { "faultstring": "Invalid ApiKey" } }),
                gateway("Apigee"),
            ),
            (
                json!({ "message": "Unauthorized" }),
                gateway("an API gateway"),
            ),
            (
                json!({ "error": "invalid_client", "message": "Forbidden" }),
                None,
            ),
            (json!({ "message": "The secret is wrong" }), None),
            (json!({ "detail": "no" }), None),
            (json!({}), None),
        ] {
            let fields = body.as_object().unwrap();
            let raw = RawAnswer::new(403, Vec::new());
            assert_eq!(by(&raw, Some(fields)), expected, "{body}");
        }
    }
}
