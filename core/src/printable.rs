//! Makes text from outside safe for a terminal: bounded, without control and format characters.

use std::borrow::Cow;

/// Escapes every character that is not printable. A terminal executes control characters, and format characters (categories Cf, Zl, Zp) change
/// the reading direction or hide text. A line break is escaped as well, so that a text cannot look like two lines.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_printable) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_printable(c) {
            shown.push(c);
        } else {
            shown.extend(c.escape_debug());
        }
    }
    Cow::Owned(shown)
}

/// The same, cut after `most` characters.
#[must_use]
pub fn bounded(text: &str, most: usize) -> String {
    let shown = printable(text);
    match shown.char_indices().nth(most) {
        Some((at, _)) => format!("{}…", &shown[..at]),
        None => shown.into_owned(),
    }
}

/// The first bytes of a text, up to a whole character.
#[must_use]
pub(crate) fn head(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// Whether it is a letter, mark, digit, sign or the ordinary blank, according to the tables that `{:?}` uses.
fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    // Follows another character, where a combining mark is allowed.
    let mut pair = String::with_capacity(8);
    pair.extend(['x', c]);
    pair.escape_debug().nth(1) == Some(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_printable_is_escaped_and_the_rest_is_left_alone() {
        for plain in [
            "",
            "plain text, with \"quotes\", back\\slash and 'more'",
            "Zoë, Ž, 日本語, สวัสดี, e\u{301}, 🎉, –, …",
        ] {
            assert!(matches!(printable(plain), Cow::Borrowed(t) if t == plain));
        }
        for (text, shown) in [
            ("\u{1b}]0;x\u{7}", "\\u{1b}]0;x\\u{7}"),
            ("a\nb\r\tc", "a\\nb\\r\\tc"),
            ("\u{9b}2J\u{85}", "\\u{9b}2J\\u{85}"),
            (
                "a\u{202e}b\u{2066}c\u{2069}",
                "a\\u{202e}b\\u{2066}c\\u{2069}",
            ),
            (
                "\u{2028}\u{2029}\u{200b}\u{feff}\u{ad}\u{61c}",
                "\\u{2028}\\u{2029}\\u{200b}\\u{feff}\\u{ad}\\u{61c}",
            ),
            (
                "\u{e0041}\u{0}\u{7f}\u{e000}\u{a0}",
                "\\u{e0041}\\0\\u{7f}\\u{e000}\\u{a0}",
            ),
        ] {
            assert_eq!(printable(text), shown);
            // Escaping an escaped text changes nothing.
            assert_eq!(printable(shown), shown);
        }
    }

    #[test]
    fn no_control_format_or_separator_character_is_left() {
        for c in ('\0'..=char::MAX).filter(|c| is_printable(*c)) {
            assert!(!c.is_control(), "{c:?}");
            // Bidirectional controls and invisible characters.
            assert!(
                !matches!(c, '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                    | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'),
                "{c:?}"
            );
        }
    }
}
