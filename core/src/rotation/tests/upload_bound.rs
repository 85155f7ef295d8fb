//! A certificate that the issuer confirms but that never gets a token is not added again and again.

use jiff::Timestamp;

use super::{
    process::failed,
    upload::{YEAR, slot},
};
use crate::{
    fixtures::at,
    rotation::{
        AnswerIds, Application, Class, Kind, Memory, Notice, Outcome, RotationSettings, Step,
        Uploading, upload,
    },
};

/// Times within a week at which the certificate is announced if it never gets a token, and whether the failure is reported at the end.
fn announced(readable: bool, answer: &Outcome) -> (Vec<i64>, bool) {
    let settings = RotationSettings::of(Kind::Certificate);
    let seen = Uploading {
        secret: Some(slot(2, YEAR)),
        copy: Some(slot(1, YEAR)),
        named: true,
        ..Uploading::default()
    };
    let mut memory = Memory::new(at(0), &settings.pace);
    let (mut now, mut times): (Timestamp, _) = (at(86_400), Vec::new());
    let reported = |notices: &[Notice]| notices.iter().any(|n| matches!(n, Notice::Failed(_)));
    let (end, mut last) = (at(8 * 86_400), false);
    while now < end {
        let next = upload(&seen, &memory, &settings, now);
        last = reported(&next.notices);
        let outcome = match &next.step {
            Step::Wait { until } => {
                now = (*until).max(now + jiff::SignedDuration::from_secs(1));
                continue;
            }
            Step::AddKey { .. } => {
                times.push(now.duration_since(at(86_400)).as_secs());
                answer.clone()
            }
            Step::ReadApplication if readable => Outcome::Application(Application {
                read_at: now,
                keys: Vec::new(),
            }),
            Step::ReadApplication => failed(Class::Permission),
            _ => Outcome::Refused(AnswerIds::default()),
        };
        memory.before(&next.step, now);
        now += jiff::SignedDuration::from_secs(1);
        memory.after(&next.step, &outcome, now);
    }
    (times, last)
}

#[test]
fn a_certificate_that_the_issuer_confirmed_is_uploaded_twice_at_most() {
    for readable in [false, true] {
        let (times, reported) = announced(readable, &Outcome::KeyAdded(None));
        assert_eq!(times.len(), 2, "{readable} {times:?}");
        assert!(times[1] - times[0] >= 3_600, "{readable} {times:?}");
        assert!(reported, "it is reported that it gets no token");
    }
}

#[test]
fn what_is_never_answered_is_announced_ever_more_rarely() {
    let (times, _) = announced(false, &failed(Class::Transient));
    assert!((3..12).contains(&times.len()), "{times:?}");
    let gaps: Vec<i64> = times.windows(2).map(|two| two[1] - two[0]).collect();
    assert!(
        gaps.windows(2).all(|two| two[1] + 900 >= two[0]),
        "{gaps:?}"
    );
}
