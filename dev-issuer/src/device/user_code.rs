//! The code that a user types (RFC 8628 section 6.1).

use aws_lc_rs::rand;

/// Letters that are hard to confuse and form no words.
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
/// A new one, with a dash in the middle.
pub(super) fn random() -> String {
    let mut letters = String::new();
    while letters.len() < 9 {
        let mut byte = [0];
        rand::fill(&mut byte).expect("the system has random bytes");
        // 240 is the last multiple of 20: every letter is as likely as the others.
        if byte[0] < 240 {
            letters.push(char::from(LETTERS[usize::from(byte[0]) % LETTERS.len()]));
            if letters.len() == 4 {
                letters.push('-');
            }
        }
    }
    letters
}

/// A code in the form in which it is compared: users type it in any case, with or without the dash.
pub(super) fn plain(code: &str) -> String {
    let letters = code.chars().filter(char::is_ascii_alphabetic);
    letters.map(|c| c.to_ascii_uppercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_code_is_easy_to_type() {
        let code = random();
        assert_eq!(code.len(), 9);
        assert_ne!(code, random());
        let (left, right) = code.split_once('-').unwrap();
        assert_eq!((left.len(), right.len()), (4, 4));
        assert!(
            code.bytes().all(|b| b == b'-' || LETTERS.contains(&b)),
            "{code}"
        );
    }
}
