//! Watches and lists that break, end, repeat events, lag behind or are too old (F13, F14).

use std::time::Duration;

use crate::{
    answers::{FaultCase, Injection, lead_all},
    calls::{Call, Fault},
    oracles::check,
    scenario::{Mode, Scenario, reference},
    stream::StreamFault,
    support::run,
    wire::Wire,
};

/// The kinds that are watched.
const KINDS: [&str; 6] = [
    "apicredentials",
    "apiclients",
    "secrets",
    "namespaces",
    "clustertokenissuers",
    "tokenissuers",
];

/// These scenarios in both modes: operators of single namespaces merge their watches into one.
fn in_both_modes(cases: impl Fn() -> Vec<(String, Injection)>) -> Vec<FaultCase> {
    let scenarios = Mode::BOTH.into_iter().flat_map(|mode| {
        let scenarios = cases().into_iter();
        scenarios.map(move |(name, inject)| (name, mode, inject))
    });
    scenarios.collect()
}

/// A fault in the first watch of a kind.
fn first_watch(kind: &'static str, inject: StreamFault) -> Injection {
    injection(
        move |call| call.verb == "watch" && call.resource == kind,
        1,
        Fault::Stream(inject),
    )
}

/// A fault in the first `times` requests that fit.
fn injection(
    fits: impl Fn(&Call) -> bool + Send + 'static,
    times: usize,
    fault: Fault,
) -> Injection {
    Box::new(move |wire: &Wire| {
        let mut left = times;
        wire.rule(move |call| {
            let hit = left > 0 && fits(call);
            left -= usize::from(hit);
            hit.then(|| fault.clone())
        });
    })
}

#[test]
fn a_watch_that_ends_breaks_or_is_too_old_at_any_event_costs_nothing() {
    run(async {
        lead_all(in_both_modes(|| {
            let mut cases = Vec::new();
            for kind in KINDS {
                let busy = matches!(kind, "apicredentials" | "secrets");
                for after in if busy { vec![0, 1, 3] } else { vec![0] } {
                    for (name, inject) in [
                        ("cut", StreamFault::Cut(after)),
                        ("reset", StreamFault::Reset(after)),
                        ("gone", StreamFault::Gone(after)),
                        ("garbage", StreamFault::Garbage(after)),
                    ] {
                        cases.push((
                            format!("f13-{name}-{kind}-{after}"),
                            first_watch(kind, inject),
                        ));
                    }
                }
            }
            cases
        }))
        .await;
    });
}

#[test]
fn a_watch_that_stays_too_old_or_is_refused_is_opened_again_until_it_works() {
    run(async {
        lead_all(in_both_modes(|| {
            let mut cases = Vec::new();
            for kind in ["apicredentials", "secrets"] {
                let fits = move |call: &Call| call.verb == "watch" && call.resource == kind;
                for (name, fault) in [
                    ("always-gone", Fault::status(410, "Expired", &[])),
                    ("always-late", Fault::Stream(StreamFault::Gone(0))),
                    ("forbidden", Fault::status(403, "Forbidden", &[])),
                    (
                        "busy",
                        Fault::status(429, "TooManyRequests", &[("retry-after", "3600")]),
                    ),
                ] {
                    let inject = injection(fits, 3, fault);
                    cases.push((format!("f13-{name}-{kind}"), inject));
                }
            }
            cases
        }))
        .await;
    });
}

#[test]
fn a_list_that_fails_is_requested_again_and_nothing_is_decided_before_it_is_there() {
    run(async {
        lead_all(in_both_modes(|| {
            let mut cases = Vec::new();
            for kind in KINDS {
                let fits = move |call: &Call| call.verb == "list" && call.resource == kind;
                for (name, fault) in [
                    ("403", Fault::status(403, "Forbidden", &[])),
                    ("410", Fault::status(410, "Expired", &[])),
                    ("500", Fault::status(500, "InternalError", &[])),
                    ("half", Fault::Half),
                    ("reset", Fault::Reset),
                ] {
                    cases.push((format!("f14-{name}-{kind}"), injection(fits, 1, fault)));
                }
            }
            cases
        }))
        .await;
    });
}

/// The waits between attempts are lower bounds: a slow machine makes them longer and never shorter.
#[test]
fn a_list_that_keeps_failing_is_requested_ever_more_rarely_until_it_works() {
    const REFUSALS: usize = 5;
    run(async {
        // Credentials are also listed by the check of the store, one at a time, at its own pace.
        let kinds = KINDS.into_iter().filter(|kind| *kind != "apicredentials");
        let cases = kinds.flat_map(|kind| Mode::BOTH.map(|mode| (kind, mode)));
        // If namespaces are watched by name, no work waits for their labels: the scenario ends before the errors do.
        let cases = cases.filter(|case| *case != ("namespaces", Mode::Namespaced));
        let cases = cases.map(async |(kind, mode)| {
            let name = format!("f14-again-{kind}");
            let mut wires = Vec::new();
            let scenario = Scenario::lead_in(mode, &name, |wire| {
                let fits = move |call: &Call| call.verb == "list" && call.resource == kind;
                injection(
                    fits,
                    REFUSALS,
                    Fault::status(503, "ServiceUnavailable", &[]),
                )(wire);
                wires.push(wire.clone());
            })
            .await;
            check(&scenario, reference().await);
            assert_eq!(scenario.spoilt, REFUSALS, "{name}");
            let journal = wires[0].journal();
            let refused = journal.iter().filter(|e| e.spoilt).map(|e| e.at);
            let tries: Vec<_> = refused.collect();
            let gaps = tries.windows(2).map(|w| w[1] - w[0]);
            let gaps: Vec<_> = gaps.collect();
            for (k, gap) in gaps.iter().enumerate() {
                let least = Duration::from_millis(800 << k);
                assert!(*gap >= least, "{name}: {gaps:?}");
            }
        });
        futures::future::join_all(cases).await;
    });
}

#[test]
fn events_that_come_late_or_twice_cost_no_token_and_no_write() {
    run(async {
        let late = Duration::from_secs(4);
        let watch = |call: &Call| call.verb == "watch";
        let all = |inject| injection(watch, usize::MAX, Fault::Stream(inject));
        lead_all(in_both_modes(|| {
            vec![
                ("f13-twice".to_owned(), all(StreamFault::Twice)),
                (
                    "f13-late-all".to_owned(),
                    all(StreamFault::Late("{", Duration::from_secs(1))),
                ),
                (
                    "f13-late-secrets".to_owned(),
                    first_watch("secrets", StreamFault::Late("{", late)),
                ),
                (
                    "f13-late-target".to_owned(),
                    first_watch("secrets", StreamFault::Late("\"name\":\"token\"", late)),
                ),
                (
                    "f13-late-source".to_owned(),
                    first_watch("secrets", StreamFault::Late("\"name\":\"source\"", late)),
                ),
                (
                    "f13-late-status".to_owned(),
                    first_watch("apicredentials", StreamFault::Late("{", late)),
                ),
            ]
        }))
        .await;
        assert_eq!(reference().await.spoilt, 0);
    });
}
