//! JSON from outside, within bounds.

use serde_json::{Map, Value};

/// Most parts of an object. A value takes 32 bytes however short it was written, so a megabyte of `0,0,0,…` would take
/// twenty of them, for each of the requests that are out. Discovery documents have some hundred parts.
const MAX_PARTS: usize = 8 * 1024;

/// Reads an object; `None` if it is none, or has more parts than any honest one. A comma inside a text counts as well.
pub fn object(text: &[u8]) -> Option<Map<String, Value>> {
    let parts = text.iter().filter(|b| matches!(b, b',' | b':')).count();
    if parts > MAX_PARTS {
        return None;
    }
    match serde_json::from_slice(text) {
        Ok(Value::Object(object)) => Some(object),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_of_many_parts_is_not_taken_apart() {
        let list = |n: usize| format!(r#"{{"a":[{}0]}}"#, "0,".repeat(n)).into_bytes();
        assert!(object(&list(MAX_PARTS - 1)).is_some());
        assert!(object(&list(MAX_PARTS)).is_none());
        let fields = |n: usize| {
            let fields: Vec<String> = (0..n).map(|i| format!(r#""{i}":0"#)).collect();
            format!("{{{}}}", fields.join(",")).into_bytes()
        };
        assert!(object(&fields(MAX_PARTS / 2)).is_some());
        assert!(object(&fields(MAX_PARTS)).is_none());
        for other in ["[]", "1", "{", "", "null"] {
            assert!(object(other.as_bytes()).is_none(), "{other}");
        }
    }
}
