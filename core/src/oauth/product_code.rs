//! The stable error code of a product in addition to the OAuth error, in a form that may be shown: `E0000004`, `BXNIM0415E`,
//! `AADB2C90081`. The form of another product is one line.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use super::{classes, error_body::snake, gateway, token_error::MOST_DIGITS};
use crate::input::get;

/// Fields with such a code, in the order in which they are read.
const FIELDS: [&str; 5] = [
    // Google, in addition to `invalid_grant`.
    "error_subtype",
    // Okta, IBM, Microsoft's own frameworks.
    "error_code",
    "code",
    // `HubSpot`, AWS.
    "status",
    "__type",
];

/// Codes with a fixed prefix and this number of digits. `true`: a letter for the severity may follow.
const NUMBERED: [(&str, RangeInclusive<usize>, bool); 6] = [
    // Okta: developer.okta.com/docs/reference/error-codes
    ("E0000", 3..=3, false),
    // IBM Cloud IAM, IBM Verify.
    ("BXNIM", 4..=4, true),
    ("CSIAQ", 4..=4, true),
    ("CSIBX", 4..=4, true),
    // Azure AD B2C: learn.microsoft.com/azure/active-directory-b2c/error-codes
    ("AADB2C", 5..=6, false),
    // AD FS.
    ("MSIS", 4..=4, false),
];

/// The code, if the answer has one. `error`: the code that is already shown.
pub(super) fn product_code(
    fields: &Map<String, Value>,
    error: Option<&str>,
    text: Option<&str>,
) -> Option<String> {
    let inner = get(fields, "error").and_then(Value::as_object);
    let texts = [Some(fields), inner].into_iter().flatten().flat_map(|f| {
        let of = |name: &&str| get(f, name)?.as_str();
        FIELDS.iter().filter_map(of)
    });
    // `com.amazon.coral#NotAuthorizedException`
    let names = texts.map(|text| text.trim().rsplit('#').next().unwrap_or_default());
    let stated = names
        .filter(|name| Some(*name) != error)
        .find(|name| numbered(name).is_some_and(|len| len == name.len()) || is_known(name));
    let begun = || {
        let text = text?.trim_start();
        let len = numbered(text)?;
        let ends = text[len..].starts_with([':', ' ', '.']) || text.len() == len;
        ends.then(|| &text[..len])
    };
    let apigee = || {
        let code = gateway::apigee_code(fields)?;
        let plain = code.len() <= 64 && code.bytes().all(|b| b.is_ascii_alphabetic());
        plain.then(|| format!("oauth.v2.{code}"))
    };
    let found = stated.or_else(begun).map(str::to_owned);
    let number = || {
        let number = get(fields, "error")
            .filter(|error| error.is_u64())?
            .to_string();
        (number.len() <= MOST_DIGITS).then_some(number)
    };
    found.or_else(apigee).or_else(number)
}

/// True for a code of the table of errors, in the spelling of its product. A known code contains no secret.
fn is_known(text: &str) -> bool {
    let name = snake(text);
    name.is_some_and(|name| classes::known(&name).is_some())
}

/// The length of the numbered code at the beginning of a text.
fn numbered(text: &str) -> Option<usize> {
    NUMBERED.iter().find_map(|(prefix, count, severity)| {
        let rest = text.strip_prefix(prefix)?;
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let letter = usize::from(*severity && rest[digits..].starts_with(['I', 'W', 'E']));
        count
            .contains(&digits)
            .then(|| prefix.len() + digits + letter)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::oauth::error_body::description;

    fn of(body: &Value) -> Option<String> {
        let fields = body.as_object().unwrap();
        let error = fields.get("error").and_then(Value::as_str);
        product_code(fields, error, description(fields))
    }

    #[test]
    fn the_codes_of_products_are_shown_in_their_own_spelling_and_nothing_else_is() {
        for (body, expected) in [
            (
                json!({ "errorCode": "E0000004", "errorSummary": "Authentication failed" }),
                Some("E0000004"),
            ),
            (
                json!({ "errorCode": "BXNIM0415E", "errorMessage": "Provided API key could not be found." }),
                Some("BXNIM0415E"),
            ),
            (
                json!({ "error": "invalid_client", "error_description": "CSIAQ0158E The [client_id] is not valid." }),
                Some("CSIAQ0158E"),
            ),
            (
                json!({ "error": "invalid_grant", "error_description": "AADB2C90080: The provided grant has expired." }),
                Some("AADB2C90080"),
            ),
            (
                json!({ "error": "invalid_client", "error_description": "MSIS9622: Client authentication failed." }),
                Some("MSIS9622"),
            ),
            (
                json!({ "error": "invalid_grant", "error_subtype": "invalid_rapt", "error_description": "reauth related error" }),
                Some("invalid_rapt"),
            ),
            (json!({ "status": "BAD_CLIENT_ID" }), Some("BAD_CLIENT_ID")),
            (
                json!({ "__type": "com.amazon.coral#NotAuthorizedException" }),
                Some("NotAuthorizedException"),
            ),
            (
                json!({ "error": { "code": 403, "status": "PERMISSION_DENIED" } }),
                Some("PERMISSION_DENIED"),
            ),
            (
                json!({ "fault": { "faultstring": "x", "detail": { "errorcode": "oauth.v2.InvalidClientIdentifier" } } }),
                Some("oauth.v2.InvalidClientIdentifier"),
            ),
            // A code that is already shown, and values that are not codes of a product.
            (
                json!({ "error": "invalid_client", "code": "invalid_client" }),
                None,
            ),
            (
                json!({ "error": "invalid_client", "error_codes": [7_000_215], "error_description": "AADSTS7000215: x" }),
                None,
            ),
            (json!({ "errorCode": "401", "code": 401 }), None),
            (json!({ "errorCode": "E00000041" }), None),
            (json!({ "errorCode": "E0000004x" }), None),
            (json!({ "errorCode": "BXNIM0415EE" }), None),
            (json!({ "errorCode": "BXNIM04151234567" }), None),
            (json!({ "code": "S3CR3TS3CR3T" }), None),
            (
                json!({ "error": "invalid_client", "error_description": "MSIS96221234: x" }),
                None,
            ),
            (
                json!({ "fault": { "detail": { "errorcode": "oauth.v2.hT9~xkCd" } } }),
                None,
            ),
            (json!({}), None),
        ] {
            assert_eq!(of(&body).as_deref(), expected, "{body}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_shown_is_short_and_printable(text in "[A-Z]{0,8}[0-9]{0,9}[A-Z]?.{0,20}", prefix in prop::sample::select(vec!["", "E0000", "BXNIM", "AADB2C", "MSIS"])) {
            let text = format!("{prefix}{text}");
            let body = json!({ "errorCode": text, "error_description": text });
            if let Some(code) = of(&body) {
                prop_assert!(code.len() <= 64 && code.bytes().all(|b| b.is_ascii_graphic()));
                // At most three more digits than other codes may have, and a fixed prefix.
                let digits = code.bytes().filter(u8::is_ascii_digit).count();
                prop_assert!(digits <= 7, "{code}");
            }
        }
    }
}
