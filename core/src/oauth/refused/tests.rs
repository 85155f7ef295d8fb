use serde_json::json;

use super::*;

#[test]
fn messages_and_numbers_are_found_under_each_spelling_of_their_names() {
    for (body, expected) in [
        (json!({ "error_description": "w" }), Some("w")),
        (json!({ "errorDescription": "w" }), Some("w")),
        (json!({ "Error_Description": "w" }), Some("w")),
        (
            json!({ "error_description": " ", "Message": "w" }),
            Some("w"),
        ),
        (
            json!({ "error_description": null, "detail": "w" }),
            Some("w"),
        ),
        (json!({ "error": { "message": "w" } }), Some("w")),
        (json!({ "Error": { "Message": "w" } }), Some("w")),
        (
            json!({ "error": { "detail": "w" }, "status": "failure" }),
            Some("w"),
        ),
        (json!({ "errors": [{ "title": "w" }] }), Some("w")),
        (json!({ "errors": ["w"] }), Some("w")),
        (json!({ "error_description": 5 }), None),
        (json!({}), None),
    ] {
        assert_eq!(description(body.as_object().unwrap()), expected, "{body}");
    }
    for (body, expected) in [
        (json!({ "error_codes": [7_000_215] }), Some(7_000_215)),
        (json!({ "error_codes": ["7000215"] }), Some(7_000_215)),
        (json!({ "errorCodes": ["AADSTS7000215"] }), Some(7_000_215)),
        (json!({ "error_codes": 7_000_215 }), Some(7_000_215)),
        (json!({ "error_codes": "7000215" }), Some(7_000_215)),
        (json!({ "error_codes": [1, 7_000_215] }), Some(7_000_215)),
        (json!({ "error_codes": [1, 2] }), Some(1)),
        (
            json!({ "error_codes": [] , "error_description": "AADSTS7000215: x" }),
            Some(7_000_215),
        ),
        (
            json!({ "errorDescription": " AADSTS50076: x" }),
            Some(50_076),
        ),
        (
            json!({ "error": { "message": "AADSTS50076: x" } }),
            Some(50_076),
        ),
        (json!({ "error_description": "see AADSTS50076" }), None),
        (json!({ "error_codes": ["x", -1, 1e30, null] }), None),
        (json!({ "error_description": "AADSTS: none" }), None),
        (
            json!({ "error_description": "AADSTS99999999999" }),
            Some(999_999_999),
        ),
    ] {
        assert_eq!(aadsts_code(body.as_object().unwrap()), expected, "{body}");
    }
}
