//! Limits how many concurrent requests one issuer or namespace may have. Pure.
//!
//! A request can take long, and any tenant can create an issuer that never answers. So no issuer has more than half of the
//! permits. A namespace has a quarter, and more only while half of them are free. Issuers of namespaces, whose users choose
//! URLs and limits themselves, have three quarters together. Issuers that do not answer have half together. Each of them has
//! an eighth, and so has each namespace at such issuers, so that the other credentials of that namespace continue.

use std::{collections::HashMap, hash::Hash};

/// The issuer and the namespace that a permit counts for.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Holder<I> {
    /// The issuer.
    pub issuer: I,
    /// Namespace of the credential.
    pub namespace: String,
    /// True if the issuer is an object of the namespace.
    pub own: bool,
}

/// The permits in use. `I` identifies an issuer.
#[derive(Debug)]
pub(super) struct Permits<I> {
    all: u32,
    held: HashMap<Holder<I>, u32>,
    total: u32,
}

impl<I: Clone + Eq + Hash> Permits<I> {
    pub(super) fn new(places: u16) -> Self {
        Self {
            all: u32::from(places.max(1)),
            held: HashMap::new(),
            total: 0,
        }
    }

    pub(super) fn take(&mut self, holder: &Holder<I>) {
        *self.held.entry(holder.clone()).or_default() += 1;
        self.total += 1;
    }

    pub(super) fn give_back(&mut self, holder: &Holder<I>) {
        if let Some(held) = self.held.get_mut(holder) {
            *held -= 1;
            self.total -= 1;
            if *held == 0 {
                self.held.remove(holder);
            }
        }
    }

    pub(super) fn are_full(&self) -> bool {
        self.total >= self.all
    }

    pub(super) fn total(&self) -> u32 {
        self.total
    }

    /// True if one more permit may be given. `silent` returns true for an issuer that does not answer.
    pub(super) fn has_room(&self, holder: &Holder<I>, silent: impl Fn(&I) -> bool) -> bool {
        let part = |parts: u32| self.all.div_ceil(parts);
        let half = (self.all / 2).max(1);
        let of_issuer = self.sum(|h| h.issuer == holder.issuer);
        let of_namespace = self.sum(|h| h.namespace == holder.namespace);
        if self.are_full()
            || of_issuer >= half
            || (of_namespace >= part(4) && self.total >= self.all / 2)
            || (holder.own && self.sum(|h| h.own) >= (self.all * 3 / 4).max(1))
        {
            return false;
        }
        !silent(&holder.issuer)
            || (of_issuer < part(8)
                && self.sum(|h| silent(&h.issuer)) < half
                && self.sum(|h| h.namespace == holder.namespace && silent(&h.issuer)) < part(8))
    }

    fn sum(&self, of: impl Fn(&Holder<I>) -> bool) -> u32 {
        let held = self.held.iter().filter(|(holder, _)| of(holder));
        held.map(|(_, held)| held).sum()
    }
}
