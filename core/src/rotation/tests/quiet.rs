//! Nothing is reported while a credential waits for its renewal on schedule.

use super::overlap::{lags, overlap};
use crate::{
    fixtures::at,
    rotation::{Kind, Notice, Step},
};

#[test]
fn a_credential_is_reported_when_its_renewal_is_overdue_and_not_before() {
    for kind in [Kind::Secret, Kind::Certificate] {
        let mut process = overlap(kind);
        let over = 86_400;
        let again = process.settings.pace.again.as_secs();
        // It renews in 20 minutes, and is overdue five minutes after that.
        let renews_at = over + 1_200;
        process.seen.lagging = Some(lags(renews_at));
        for (now, next_due) in [
            (over, over + again),
            (renews_at, renews_at + 300),
            (renews_at + 299, renews_at + 300),
        ] {
            process.now = at(now);
            process.seen.used_at = Some(at(now));
            let next = process.decide();
            assert_eq!(next.notices, [], "{kind:?} {now}");
            assert_eq!(
                next.step,
                Step::Wait {
                    until: at(next_due)
                },
                "{kind:?} {now}"
            );
        }
        process.now = at(renews_at + 300);
        let name = "app".to_owned();
        assert_eq!(process.decide().notices, [Notice::UsersLag { name }]);
        // It has followed.
        process.seen.lagging = None;
        let next = process.decide();
        assert_eq!(next.notices, []);
        assert!(!matches!(next.step, Step::Wait { .. }), "{:?}", next.step);
    }
}
