//! Random histories of an upload: steps, lost answers, crashes, and a tool that replaces the pair.

use jiff::SignedDuration;
use proptest::prelude::*;

use super::{
    process::failed,
    upload::{LAG, Process, YEAR, second, slot},
    world::no_answer,
};
use crate::{
    fixtures::at,
    rotation::{AnswerIds, Class, Memory, Outcome, Slot, Step, Tried},
};

/// What happens next.
#[derive(Clone, Copy, Debug)]
enum Op {
    /// The process continues. Contains the result of its call.
    Run(Wrong),
    Pass(i64),
    Crash,
    /// cert-manager replaces the pair.
    Renew,
    /// A credential renews its token.
    Token,
    /// A user uploads the certificate.
    ByHand,
}

#[derive(Clone, Copy, Debug)]
enum Wrong {
    Nothing,
    /// No effect, no answer.
    Lost,
    /// An effect, and no answer.
    AnswerLost,
    Refused(Class),
}

fn op() -> impl Strategy<Value = Op> {
    let class = prop::sample::select(vec![
        Class::Throttled,
        Class::Conflict,
        Class::Policy,
        Class::Proof,
        Class::Caller,
    ]);
    let wrong = prop_oneof![
        6 => Just(Wrong::Nothing),
        1 => Just(Wrong::Lost),
        1 => Just(Wrong::AnswerLost),
        1 => class.prop_map(Wrong::Refused),
    ];
    prop_oneof![
        20 => wrong.prop_map(Op::Run),
        2 => (1_i64..4_000).prop_map(Op::Pass),
        1 => Just(Op::Crash),
        1 => Just(Op::Renew),
        2 => Just(Op::Token),
        1 => Just(Op::ByHand),
    ]
}

/// The Secret, its copy and a lagging issuer.
struct World {
    process: Process,
    may_read: bool,
    made: u32,
    /// Number of the certificate, and since when the issuer has it.
    known: Vec<(u32, i64)>,
    /// Certificates that have got a token.
    good: Vec<u32>,
    /// When this process announced a certificate that may have arrived.
    announced: Vec<(u32, i64)>,
}

fn number(slot: &Slot) -> u32 {
    let digits = slot.digest.trim_start_matches("digest-");
    digits.parse().unwrap_or_default()
}

impl World {
    fn new(may_read: bool, named: bool) -> Self {
        let mut process = Process::new();
        process.seen.named = named;
        process.seen.secret.clone_from(&process.seen.copy);
        Self {
            process,
            may_read,
            made: 1,
            known: vec![(1, -86_400)],
            good: vec![1],
            announced: Vec::new(),
        }
    }

    fn secret(&self) -> u32 {
        self.process.seen.secret.as_ref().map_or(0, number)
    }

    /// Whether all replicas know it.
    fn accepts(&self, n: u32) -> bool {
        let arrived = |(known, since): &(u32, i64)| *known == n && *since + LAG <= self.process.t;
        self.known.iter().any(arrived)
    }

    fn op(&mut self, op: Op) {
        match op {
            Op::Run(wrong) => self.run(wrong),
            Op::Pass(seconds) => self.process.t += seconds,
            Op::Crash => {
                let pace = self.process.settings.pace;
                self.process.memory = Memory::new(self.process.now(), &pace);
                self.announced.clear();
            }
            Op::Renew => {
                self.made += 1;
                self.process.seen.secret = Some(slot(self.made, 10 * YEAR));
                self.process.seen.used_at = None;
            }
            Op::Token => self.token(),
            Op::ByHand => self.known.push((self.secret(), self.process.t)),
        }
    }

    fn token(&mut self) {
        let n = self.secret();
        if self.accepts(n) {
            let seen = &mut self.process.seen;
            seen.copy.clone_from(&seen.secret);
            seen.used_at = Some(at(self.process.t));
            self.good.push(n);
        }
    }

    fn run(&mut self, wrong: Wrong) {
        let step = self.process.decide().step;
        if let Step::Wait { until } = step {
            self.process.t = second(until).max(self.process.t + 1);
            return;
        }
        self.process.memory.before(&step, self.process.now());
        let outcome = match &step {
            Step::Trial { of, .. } => {
                let slots = self.process.seen.slots();
                let value = match of {
                    Tried::Current => slots.current,
                    Tried::Next => slots.next,
                };
                let n = value.as_ref().map_or(0, number);
                match wrong {
                    Wrong::Nothing if self.accepts(n) => Outcome::Token,
                    Wrong::Nothing => Outcome::Refused(AnswerIds::default()),
                    _ => no_answer(),
                }
            }
            Step::ReadApplication if !self.may_read => failed(Class::Permission),
            Step::ReadApplication => match wrong {
                Wrong::Nothing => {
                    let seen: Vec<u32> = self.known.iter().map(|(n, _)| *n).collect();
                    let seen = seen.into_iter().filter(|n| self.accepts(*n));
                    self.process.lists(&seen.collect::<Vec<u32>>())
                }
                Wrong::Refused(class) => failed(class),
                _ => failed(Class::Transient),
            },
            Step::AddKey { digest, .. } => self.add(digest, wrong),
            other => unreachable!("{other:?}"),
        };
        self.process.t += 1;
        let now = self.process.now();
        self.process.memory.after(&step, &outcome, now);
    }

    fn add(&mut self, digest: &str, wrong: Wrong) -> Outcome {
        let (seen, t) = (&self.process.seen, self.process.t);
        let slots = seen.slots();
        let (signs, new) = (
            slots.current.expect("one signs"),
            slots.next.expect("a new one"),
        );
        assert!(self.good.contains(&number(&signs)), "it never got a token");
        assert!(signs.validity.is_some_and(|(_, until)| until > at(t)));
        assert_eq!(new.digest, digest);
        let n = number(&new);
        let settings = &self.process.settings;
        let least = if self.may_read {
            settings.pace.settles
        } else {
            settings.trials.at_most
        };
        let last = self.announced.iter().rev().find(|(of, _)| *of == n);
        let since = last.map(|(_, at)| SignedDuration::from_secs(t - at));
        assert!(
            since.is_none_or(|since| since >= least),
            "again after {since:?}"
        );
        if !matches!(wrong, Wrong::Refused(_)) {
            self.announced.push((n, t));
        }
        if matches!(wrong, Wrong::Nothing | Wrong::AnswerLost) {
            self.known.push((n, t));
        }
        match wrong {
            Wrong::Nothing => Outcome::KeyAdded(None),
            Wrong::Lost | Wrong::AnswerLost => failed(Class::Transient),
            Wrong::Refused(class) => failed(class),
        }
    }
}

proptest! {
    #[test]
    fn in_whatever_order_things_happen_each_certificate_is_announced_rarely_and_the_last_one_works(
        ops in prop::collection::vec(op(), 0..150),
        (may_read, named) in any::<(bool, bool)>(),
    ) {
        let mut world = World::new(may_read, named);
        for op in ops {
            world.op(op);
        }
        // The pauses after refusals and calls are a day at most.
        for _ in 0..1_000 {
            let works = world.process.seen.works(&world.process.memory);
            if works || world.process.t > 8 * YEAR / 10 {
                break;
            }
            world.op(Op::Run(Wrong::Nothing));
        }
        prop_assert!(world.process.seen.works(&world.process.memory), "{:?}", world.process.decide());
        prop_assert!(world.accepts(world.secret()));
    }
}
