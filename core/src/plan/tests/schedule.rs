mod properties;
mod retries;

use std::{collections::BTreeSet, time::Duration};

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use crate::{
    fixtures::{at, secs},
    oauth::Class,
    plan::schedule::{
        MOUNT_DELAY, MOUNT_LEFT, NOTIFIED_DELAY, Promise, Retry, SHORTEST, Spread, later,
        next_attempt, renewal, risk_at, wait,
    },
};

/// Lifetime, time that the issuer requests, minimum of the user (seconds) -> latest renewal (milliseconds after the issue) and rule.
type Renewal = (i64, Option<i64>, Option<i64>, i64, &'static str);

#[rustfmt::skip]
const RENEWALS: [Renewal; 31] = [
    (1,       None,          None,         500,        "TooShort"),
    (60,      None,          None,         30_000,     "TooShort"),
    (99,      None,          None,         49_500,     "TooShort"),
    (100,     None,          None,         10_000,     "MountDelay"),
    (110,     None,          None,         10_000,     "MountDelay"),
    (120,     None,          None,         20_000,     "MountDelay"),
    (150,     None,          None,         50_000,     "MountDelay"),
    (200,     None,          None,         100_000,    "TooShort"),
    (240,     None,          None,         120_000,    "TooShort"),
    (300,     None,          None,         80_000,     "MinLifetime"),
    (2700,    None,          None,         1_350_000,  "HalfLife"),
    (3600,    None,          None,         1_800_000,  "HalfLife"),
    (5400,    None,          None,         2_700_000,  "HalfLife"),
    (100_800, None,          None,         50_400_000, "HalfLife"),
    // The time that the issuer requests is used if it is earlier than half ...
    (3600,    Some(1000),    None,         1_000_000,  "RefreshIn"),
    (100_800, Some(43_200),  None,         43_200_000, "RefreshIn"),
    (60,      Some(20),      None,         20_000,     "TooShort"),
    (120,     Some(15),      None,         15_000,     "TooShort"),
    (120,     Some(30),      None,         20_000,     "MountDelay"),
    // ... and not when it is later, or longer than the lifetime.
    (3600,    Some(1800),    None,         1_800_000,  "HalfLife"),
    (3600,    Some(3599),    None,         1_800_000,  "HalfLife"),
    (3600,    Some(999_999), None,         1_800_000,  "HalfLife"),
    // A request for continuous renewals is not followed: a tenth of the lifetime is the minimum.
    (3600,    Some(1),       None,         360_000,    "RefreshIn"),
    (3600,    Some(0),       None,         360_000,    "RefreshIn"),
    (3600,    Some(-5),      None,         360_000,    "RefreshIn"),
    // The user's minimum.
    (3600,    None,          Some(10),     1_800_000,  "HalfLife"),
    (3600,    None,          Some(2400),   1_080_000,  "MinLifetime"),
    (3600,    None,          Some(2600),   1_800_000,  "TooShort"),
    (3600,    None,          Some(7200),   1_800_000,  "TooShort"),
    (300,     None,          Some(10),     150_000,    "HalfLife"),
    (150,     None,          Some(30),     50_000,     "MountDelay"),
];

use retries::{retry, waits};

/// The same for notified pods.
#[rustfmt::skip]
const NOTIFIED: [Renewal; 10] = [
    (1,       None,          None,         500,        "TooShort"),
    (20,      None,          None,         10_000,     "TooShort"),
    (24,      None,          None,         11_000,     "MinLifetime"),
    (30,      None,          None,         15_000,     "HalfLife"),
    (60,      None,          None,         30_000,     "HalfLife"),
    (120,     None,          None,         60_000,     "HalfLife"),
    (300,     None,          None,         150_000,    "HalfLife"),
    (3600,    None,          None,         1_800_000,  "HalfLife"),
    (60,      None,          Some(30),     25_000,     "MinLifetime"),
    (60,      None,          Some(50),     30_000,     "TooShort"),
];

#[test]
fn the_renew_point_is_the_earliest_useful_moment_less_its_jitter() {
    let kubelet = RENEWALS.map(|case| (case, false));
    let notified = NOTIFIED.map(|case| (case, true));
    for ((lifetime, refresh_in, user, latest, rule), notified) in
        kubelet.into_iter().chain(notified)
    {
        let renewal = renewal(
            at(0),
            at(lifetime),
            refresh_in.map(secs),
            Promise {
                minimum: user.map(secs),
                notified,
            },
            spread("some-uid"),
        );
        let after = i64::try_from(renewal.at.duration_since(at(0)).as_millis()).unwrap();
        let jitter = (lifetime * 100).min(latest / 5) + round(lifetime) * 1000;
        let case = format!(
            "lifetime {lifetime}, wish {refresh_in:?}, minimum {user:?}, notified {notified}"
        );
        assert_eq!(renewal.reason, rule, "{case}");
        assert!(after <= latest, "{case}: {after} is later than {latest}");
        assert!(
            after >= latest - jitter,
            "{case}: {after} is too early for {latest}"
        );
    }
}

/// A pseudo-random number from 0 to 1, the same at each run.
fn draw(state: &mut u64) -> f64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    f64::from(u32::try_from(*state >> 33).unwrap_or(0)) / f64::from(1_u32 << 31)
}

/// Percentage of the time in which a mounted file has an expired token, and seconds between two tokens. The kubelet of each of many pods
/// updates the file every 60 to 88 s: delays of up to 88 s, as measured on a real node. A notified pod has the file after 0.2 to 2 s.
fn simulate(lifetime: i64, promise: Promise) -> (f64, f64) {
    const TOKENS: u32 = 200;
    const PODS: u64 = 20;
    let float = |seconds: i64| f64::from(i32::try_from(seconds).unwrap());
    let (mut issues, mut now) = (Vec::new(), at(0));
    for n in 0..TOKENS {
        issues.push(float(now.duration_since(at(0)).as_secs()));
        let seed = format!("uid-{n}");
        now = renewal(now, now + secs(lifetime), None, promise, spread(&seed)).at;
    }
    let (end, lifetime) = (*issues.last().unwrap(), float(lifetime));
    let (mut expired, mut total) = (0.0, 0.0);
    for pod in 0..PODS {
        let mut random = 7919 * (pod + 1);
        // When the file of this pod is updated, and when the token in it was issued.
        let mut reads = Vec::new();
        if promise.notified {
            reads.extend(
                issues
                    .iter()
                    .map(|issued| (issued + 0.2 + 1.8 * draw(&mut random), *issued)),
            );
        } else {
            let mut time = 88.0 * draw(&mut random);
            while time < end {
                let newest = issues.partition_point(|issued| *issued <= time);
                reads.push((time, issues[newest - 1]));
                time += 60.0 + 28.0 * draw(&mut random);
            }
        }
        for pair in reads.windows(2) {
            let ((from, token), (to, _)) = (pair[0], pair[1]);
            expired += (to - from.max(token + lifetime)).clamp(0.0, to - from);
            total += to - from;
        }
    }
    (100.0 * expired / total, end / f64::from(TOKENS - 1))
}

#[test]
fn from_100_s_on_no_mounted_file_expires_and_from_30_s_on_none_of_a_notified_pod() {
    for lifetime in [
        100, 105, 110, 120, 130, 150, 170, 199, 200, 240, 288, 300, 600,
    ] {
        let (expired, apart) = simulate(lifetime, promise(None));
        assert!(expired == 0.0, "lifetime {lifetime}: {expired} %");
        assert!(
            apart >= 10.0,
            "lifetime {lifetime}: a token every {apart} s"
        );
        assert!(
            promise(None).is_served(secs(lifetime)),
            "lifetime {lifetime}"
        );
    }
    for lifetime in [24, 30, 45, 60, 90, 120, 180, 600] {
        let (expired, apart) = simulate(lifetime, notified(None));
        assert!(expired == 0.0, "lifetime {lifetime}, notified: {expired} %");
        assert!(
            apart >= 10.0,
            "lifetime {lifetime}, notified: a token every {apart} s"
        );
        assert!(
            notified(None).is_served(secs(lifetime)),
            "lifetime {lifetime}"
        );
    }
    // A lifetime that is reported as too short is too short.
    for lifetime in [60, 80] {
        assert!(
            !promise(None).is_served(secs(lifetime)),
            "lifetime {lifetime}"
        );
        assert!(
            simulate(lifetime, promise(None)).0 > 1.0,
            "lifetime {lifetime}"
        );
    }
}

#[test]
fn the_default_minimum_lifetime_is_a_quarter_hour_or_a_third_of_a_short_lifetime() {
    for (lifetime, expected) in [(60, 20), (2699, 899), (2700, 900), (86_400, 900)] {
        let least = promise(None).min_lifetime(secs(lifetime));
        assert_eq!(least.as_secs(), expected, "lifetime {lifetime}");
    }
    assert_eq!(promise(Some(secs(7200))).min_lifetime(secs(60)), secs(7200));
}

#[test]
fn jitter_spreads_credentials_that_were_issued_together() {
    let moments: BTreeSet<Timestamp> = (0..100)
        .map(|n| {
            renewal(
                at(0),
                at(3600),
                None,
                promise(None),
                spread(&format!("uid-{n}")),
            )
            .at
        })
        .collect();
    assert!(moments.len() > 30, "only {} moments", moments.len());
    let span = moments
        .last()
        .unwrap()
        .duration_since(*moments.first().unwrap());
    assert!(span > secs(270), "spread over {span} only");
}

/// What readers can rely on for files that the kubelet updates.
fn promise(minimum: Option<SignedDuration>) -> Promise {
    Promise {
        minimum,
        notified: false,
    }
}

/// The same if pods are notified.
fn notified(minimum: Option<SignedDuration>) -> Promise {
    Promise {
        minimum,
        notified: true,
    }
}

/// Seconds between two rounds of renewals.
fn round(lifetime: i64) -> i64 {
    (lifetime / 60).clamp(1, 10)
}

fn spread(seed: &str) -> Spread<'_> {
    Spread { seed, phase: 0 }
}

#[test]
fn renewals_of_a_cluster_come_together_and_those_of_many_clusters_do_not() {
    let rounds = |lifetime: i64, phase: u32| -> BTreeSet<i64> {
        (0..500)
            .map(|n| {
                let seed = format!("uid-{n}");
                let spread = Spread { seed: &seed, phase };
                let issued = at(n % 97);
                let renewal = renewal(issued, issued + secs(lifetime), None, promise(None), spread);
                renewal.at.as_second().rem_euclid(round(lifetime))
            })
            .collect()
    };
    for (lifetime, apart) in [
        (3600, 10),
        (86_400, 10),
        (300, 5),
        (120, 2),
        (60, 1),
        (20, 1),
    ] {
        assert_eq!(round(lifetime), apart, "lifetime {lifetime}");
        let mut seconds = BTreeSet::new();
        for phase in 0..1000 {
            let of_one = rounds(lifetime, phase * 7919);
            assert_eq!(of_one.len(), 1, "lifetime {lifetime}: {of_one:?}");
            seconds.extend(of_one);
            if phase > 20 && seconds.len() == usize::try_from(apart).unwrap() {
                break;
            }
        }
        assert_eq!(
            seconds.len(),
            usize::try_from(apart).unwrap(),
            "lifetime {lifetime}"
        );
    }
}

#[test]
fn a_healthy_wait_is_held_between_ten_seconds_and_an_hour() {
    for (seconds, expected) in [
        (-999_999, 10),
        (0, 10),
        (9, 10),
        (11, 11),
        (3599, 3599),
        (3601, 3600),
        (99_999_999, 3600),
    ] {
        assert_eq!(
            wait(at(0), at(seconds)),
            Duration::from_secs(expected),
            "{seconds}"
        );
    }
    assert_eq!(
        wait(Timestamp::MIN, Timestamp::MAX),
        Duration::from_hours(1)
    );
    assert_eq!(
        wait(Timestamp::MAX, Timestamp::MIN),
        Duration::from_secs(10)
    );
}
