//! Token requests by issuer. Names of `ClusterTokenIssuers` are label values: administrators create them, so they are few, and
//! names beyond a limit share one value. All other metrics with names as label values must be enabled.

use std::collections::{BTreeMap, HashSet};

use super::{
    table::Id,
    text::{Page, Value},
    values::{INLINE, MOST_ISSUERS, NAMESPACED, OTHER, RESULTS},
};
use crate::{
    api::{GrantKey, IssuerKind},
    credential::IssuerId,
};

/// The issuer as a label value, before the limit is applied.
pub fn label(issuer: &IssuerId) -> &str {
    match issuer {
        IssuerId::Object(IssuerKind::ClusterTokenIssuer, _, name) => name,
        IssuerId::Object(IssuerKind::TokenIssuer, ..) => NAMESPACED,
        IssuerId::Inline(_) => INLINE,
    }
}

/// Counts by grant and result, of each issuer.
#[derive(Debug, Default)]
pub(super) struct IssuerCounts {
    /// By name and grant. Nothing is ever removed, because a counter must not decrease.
    rows: BTreeMap<(Box<str>, &'static str), Box<[u64]>>,
    named: HashSet<Box<str>>,
}

impl IssuerCounts {
    /// The counts of an issuer and a grant, by result.
    pub(super) fn row(&mut self, grant: GrantKey, issuer: &IssuerId) -> &mut [u64] {
        let name = self.bounded(label(issuer));
        let empty = || vec![0; RESULTS.list().len()].into();
        let row = (name, grant.as_str());
        self.rows.entry(row).or_insert_with(empty)
    }

    /// Counts a request.
    pub(super) fn count(&mut self, grant: GrantKey, issuer: &IssuerId, result: &str) {
        let at = RESULTS.position(result);
        debug_assert!(at.is_some(), "{result} is not a result");
        if let Some(at) = at {
            self.row(grant, issuer)[at] += 1;
        }
    }

    /// Writes the series.
    pub(super) fn write(&self, page: &mut Page) {
        let metric = Id::TokenRequests.metric();
        page.begin(metric);
        for ((issuer, grant), counts) in &self.rows {
            for (result, count) in RESULTS.list().iter().zip(counts) {
                page.series(metric, &[grant, result, issuer], Value::Count(*count));
            }
        }
    }

    fn bounded(&mut self, name: &str) -> Box<str> {
        let known = self.named.contains(name) || [INLINE, NAMESPACED, OTHER].contains(&name);
        if known {
            return name.into();
        }
        if self.named.len() >= MOST_ISSUERS {
            return OTHER.into();
        }
        self.named.insert(name.into());
        name.into()
    }
}
