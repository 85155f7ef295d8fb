//! What is reported of a write of the Secret that the API server refuses.

use crate::controller::api::calls::{Failed, Trouble};

/// So many times in a row the API server may be unavailable before that is reported.
const SELDOM: u32 = 3;

/// What is reported of a write that failed, `before` so many times in a row already. The words of the API server may repeat what is in the
/// Secret, so that they are in the log alone.
pub(super) fn unwritten(secret: &str, failed: &Failed, before: u32) -> Option<String> {
    if failed.trouble == Trouble::Unavailable && before < SELDOM {
        return None;
    }
    let who = failed.server_message.who();
    let who = who.unwrap_or_else(|| failed.trouble.as_str().to_owned());
    Some(format!(
        "Secret {secret} could not be written, so the rotation waits: {who}; let apicred write it, the operator's log has the words of the API server"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_the_api_server_refuses_is_reported_at_once() {
        let failed = |trouble: Trouble| Failed::from(trouble);
        let reported = unwritten("orders", &failed(Trouble::Invalid), 0).expect("a report");
        assert!(
            reported.starts_with("Secret orders could not be written")
                && reported.contains("invalid")
        );
        // A blip is none.
        let unavailable = failed(Trouble::Unavailable);
        assert_eq!(unwritten("orders", &unavailable, SELDOM - 1), None);
        assert!(unwritten("orders", &unavailable, SELDOM).is_some());
    }
}
