//! Losses of a refresh token that cannot be prevented.

use jiff::SignedDuration;

use crate::{
    changes::Loss,
    issuer::{Entry, Family},
    plan::{Fault, Server},
    world::Happening,
};

/// Why the loss of a refresh token could not be prevented; otherwise the events around the loss.
pub(crate) fn excuse(
    loss: &Loss,
    family: Option<&Family>,
    journal: &[Entry],
    happened: &[Happening],
) -> Result<String, String> {
    if loss.restored {
        return Ok("a user restored an older one".to_owned());
    }
    let of_family = |entry: &&Entry| {
        matches!(entry, Entry::Received { refresh: Some(refresh), .. }
            if refresh.client == loss.client && refresh.family == loss.family)
    };
    let last = journal.iter().rfind(of_family);
    let last = last.and_then(|entry| match entry {
        Entry::Received { request, at, .. } => Some((*request, *at)),
        _ => None,
    });
    let second = SignedDuration::from_secs(1);
    let Some(from) = loss.marked.or(last.map(|(_, at)| at)).map(|at| at - second) else {
        return Err("no mark and no request".to_owned());
    };
    // A request before the mark is a different request: the marked one did not arrive.
    let answered = last.filter(|(_, at)| *at >= from).and_then(|(last, _)| {
        journal.iter().find_map(|entry| match entry {
            Entry::Answered { request, at } if *request == last => Some(*at),
            _ => None,
        })
    });
    // An exchange ends after 20 s. Its outcome is stored as soon as the API server allows it.
    let is_outage = |h: &&Happening| matches!(h.fault, Fault::Down(s, _) | Fault::Stall(s, _) if s != Server::Issuer);
    let mut until = answered.map_or(from + 21 * second, |at| at + 3 * second);
    for outage in happened.iter().filter(is_outage) {
        if outage.from <= until && outage.until >= from {
            until = until.max(outage.until + 10 * second);
        }
    }
    let near: Vec<&Happening> = happened
        .iter()
        .filter(|h| h.from <= until && h.until >= from)
        .collect();
    let killed = |h: &&&Happening| matches!(h.fault, Fault::Kill(_) | Fault::KillAll) && h.led;
    let sent = last.is_some_and(|(_, at)| at >= from);
    if near.iter().any(|h| killed(&h)) {
        let when = if sent {
            ""
        } else {
            " before the issuer read it"
        };
        return Ok(format!(
            "the operator was killed while it was under way{when}"
        ));
    }
    if sent && answered.is_none() {
        return Ok("the issuer was killed or stopped before its answer".to_owned());
    }
    let is_issuer = |h: &&&Happening| {
        matches!(
            h.fault,
            Fault::Down(Server::Issuer, _) | Fault::Stall(Server::Issuer, _)
        )
    };
    if near.iter().any(|h| is_issuer(&h)) {
        return Ok("the issuer was killed or stopped while it was under way".to_owned());
    }
    let current = family.map(|f| f.current);
    Err(format!(
        "  {}; stored: {}, the issuer's newest: {current:?}; last request {last:?}, answered {answered:?}; window {from} to {until}\n  near: {near:?}",
        loss.reason, loss.stored
    ))
}
