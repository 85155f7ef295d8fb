//! Splits the JSON of a list into its objects while it is received. Only one object is in memory, independent of the size of
//! the page, because users control the number and the size of objects. Pure.

/// The maximum size of a buffer that is retained between two objects.
const BUFFER: usize = 256 * 1024;

/// A complete part of a list.
#[derive(Debug, PartialEq)]
pub(in crate::controller) enum Part<'a> {
    /// One of its objects.
    Item(&'a [u8]),
    /// Its metadata. It is before or after the objects.
    Metadata(&'a [u8]),
    /// The list is complete.
    End,
}

/// The input is not the JSON of a list.
#[derive(Debug, Eq, PartialEq)]
pub(in crate::controller) struct Malformed;

/// A list that is being received.
#[derive(Debug, Default)]
pub(in crate::controller) struct ListBody {
    /// The number of open objects and arrays.
    depth: usize,
    text: Text,
    escaped: bool,
    /// The last field of the list itself, without its quotes.
    field: Vec<u8>,
    /// Whether a string that starts now is the name of such a field.
    expects_field: bool,
    /// The depth outside the part that is being received.
    part: Option<usize>,
    buffer: Vec<u8>,
}

/// Whether the next byte is inside a string.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Text {
    /// Outside strings.
    #[default]
    None,
    /// In the name of a field of the list.
    Field,
    /// In another string.
    Other,
}

impl ListBody {
    /// Reads `input` up to the end of the next part. Returns how many bytes it has read, and the part if it is complete.
    pub(in crate::controller) fn read(
        &mut self,
        input: &[u8],
    ) -> Result<(usize, Option<Part<'_>>), Malformed> {
        if self.part.is_none() {
            self.buffer.clear();
            self.buffer.shrink_to(BUFFER);
        }
        let mut begin = 0;
        for (at, byte) in input.iter().copied().enumerate() {
            if self.text != Text::None {
                self.string(byte);
                continue;
            }
            match byte {
                b'"' => {
                    self.text = Text::Other;
                    if self.depth == 1 && self.expects_field {
                        self.text = Text::Field;
                        self.field.clear();
                    }
                }
                b'{' | b'[' => {
                    if self.part.is_none() && self.begins_part(byte) {
                        self.part = Some(self.depth);
                        begin = at;
                    }
                    self.depth += 1;
                    self.expects_field = self.depth == 1;
                }
                b'}' | b']' => {
                    self.depth = self.depth.checked_sub(1).ok_or(Malformed)?;
                    if self.part == Some(self.depth) {
                        self.part = None;
                        self.buffer.extend_from_slice(&input[begin..=at]);
                        let part = match self.depth {
                            1 => Part::Metadata(&self.buffer),
                            _ => Part::Item(&self.buffer),
                        };
                        return Ok((at + 1, Some(part)));
                    }
                    if self.depth == 0 {
                        return Ok((at + 1, Some(Part::End)));
                    }
                }
                b',' => self.expects_field = self.depth == 1,
                b':' => self.expects_field = false,
                _ if self.depth == 0 && !byte.is_ascii_whitespace() => return Err(Malformed),
                _ => {}
            }
        }
        if self.part.is_some() {
            self.buffer.extend_from_slice(&input[begin..]);
        }
        Ok((input.len(), None))
    }

    fn string(&mut self, byte: u8) {
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' => self.escaped = true,
            b'"' => self.text = Text::None,
            // Fields of a list have no escapes in their names and are shorter than this.
            _ if self.text == Text::Field && self.field.len() < 64 => self.field.push(byte),
            _ => {}
        }
    }

    fn begins_part(&self, byte: u8) -> bool {
        byte == b'{'
            && match self.depth {
                1 => self.field == b"metadata",
                2 => self.field == b"items",
                _ => false,
            }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    /// The items and the metadata of a list that is received in pieces of this size.
    fn parts(list: &[u8], piece: usize) -> Result<(Vec<Value>, Value), Malformed> {
        let mut body = ListBody::default();
        let (mut items, mut metadata) = (Vec::new(), Value::Null);
        for mut piece in list.chunks(piece.max(1)) {
            while !piece.is_empty() {
                let (read, part) = body.read(piece)?;
                match part {
                    Some(Part::Item(item)) => items.push(serde_json::from_slice(item).unwrap()),
                    Some(Part::Metadata(m)) => metadata = serde_json::from_slice(m).unwrap(),
                    Some(Part::End) => return Ok((items, metadata)),
                    None => {}
                }
                piece = &piece[read..];
            }
        }
        Err(Malformed)
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            r#"[ -~"\\{}\[\],:é]{0,12}"#.prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            let key = prop_oneof![
                Just("items".to_owned()),
                Just("metadata".to_owned()),
                r#"[a-z"\\{}]{0,4}"#
            ];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map(key, inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_list_comes_apart_into_its_objects_wherever_its_bytes_are_cut(
            objects in prop::collection::vec(any_json(), 0..5), other in any_json(), piece in 1..40_usize,
        ) {
            let items: Vec<Value> = objects.into_iter().map(|o| json!({ "metadata": {}, "spec": o })).collect();
            let meta = json!({ "resourceVersion": "7", "continue": "x}\"" });
            // In the order of Go, and in the order of the fields of a map.
            for list in [
                json!({ "kind": "L", "other": other.clone(), "metadata": meta.clone(), "items": items.clone() }),
                json!({ "a": other.clone(), "items": items.clone(), "metadata": meta.clone() }),
            ] {
                for text in [serde_json::to_vec(&list), serde_json::to_vec_pretty(&list)] {
                    let reported = parts(&text.unwrap(), piece);
                    prop_assert_eq!(reported, Ok((items.clone(), meta.clone())));
                }
            }
        }
    }

    #[test]
    fn an_empty_list_may_be_null() {
        for items in ["[]", "null"] {
            let list = format!(r#"{{"items":{items},"metadata":{{"resourceVersion":"1"}}}}"#);
            let (items, meta) = parts(list.as_bytes(), 3).unwrap();
            assert!(items.is_empty());
            assert_eq!(meta["resourceVersion"], "1");
        }
    }

    #[test]
    fn what_is_no_list_or_ends_early_is_malformed() {
        for text in [
            "<!doctype html><title>Sign in</title>",
            "",
            "}",
            r#"{"items":[{"a":1},"#,
            r#"{"items":[{"a":"}]}"#,
        ] {
            assert_eq!(parts(text.as_bytes(), 5), Err(Malformed), "{text}");
        }
    }

    #[test]
    fn a_large_object_leaves_no_large_buffer() {
        let large = format!(r#"{{"items":[{{"a":"{}"}},{{"#, "x".repeat(4 * BUFFER));
        let mut body = ListBody::default();
        let mut rest = large.as_bytes();
        while !rest.is_empty() {
            let (read, _) = body.read(rest).unwrap();
            rest = &rest[read..];
        }
        assert!(
            body.buffer.capacity() <= BUFFER,
            "{}",
            body.buffer.capacity()
        );
    }
}
