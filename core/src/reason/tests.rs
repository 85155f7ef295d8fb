use super::*;
use crate::StoredReason;

#[test]
fn each_reason_is_read_back_from_its_text_and_another_text_stays_readable() {
    for reason in Reason::ALL {
        assert_eq!(Reason::parse(reason.as_str()), Some(*reason));
        let json = serde_json::to_string(&StoredReason::from(*reason)).unwrap();
        assert_eq!(json, format!("\"{reason}\""));
        let read: StoredReason = serde_json::from_str(&json).unwrap();
        assert_eq!(read, StoredReason::Known(*reason));
    }
    for text in [
        "",
        "OfANewerVersion",
        "clientsecretmissing",
        "ClientSecretMissing ",
    ] {
        let read: StoredReason = serde_json::from_str(&format!("\"{text}\"")).unwrap();
        assert_eq!((read.as_str(), read.known()), (text, None));
        assert!(!read.is(Reason::is_wait) && !read.is(Reason::waits_for_others));
    }
}

#[test]
fn a_success_is_no_fault() {
    for reason in Reason::ALL.iter().filter(|r| r.is_success()) {
        assert!(!reason.is_wait() && !reason.waits_for_others() && !reason.is_about_expiry());
    }
}
