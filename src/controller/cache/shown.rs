//! What a scrape of the metrics needs from a credential. A scrape is frequent and must not decompress every credential.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::{
    ConditionType, Reason,
    api::{ApiCredential, ApiPreset},
    plan::schedule::Promise,
};

/// A reason; `None` if this version does not know it.
type Known = Option<Reason>;

/// Values of a credential from its spec and its last status. Times are Unix seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::controller) struct Shown {
    /// Whether it has ever had a token.
    pub(in crate::controller) published: bool,
    /// Its condition `Ready`, if it is written.
    pub(in crate::controller) ready: Option<bool>,
    /// Why it is not ready. Not set if it is ready.
    pub(in crate::controller) not_ready: Option<Known>,
    /// Why its renewal fails. Not set if it does not fail.
    pub(in crate::controller) failing: Option<Known>,
    /// Why the expiry of its client credential is reported. Not set if it is not reported, for example for a client credential
    /// that is rotated in time.
    pub(in crate::controller) client_expiring: Option<Known>,
    pub(in crate::controller) permissions_missing: bool,
    /// A static key, which has no issuer.
    pub(in crate::controller) is_static: bool,
    pub(in crate::controller) api: Option<ApiPreset>,
    /// `None` while no work is wanted: the token may then expire, it is not renewed, and readers cannot rely on it.
    pub(in crate::controller) expires_at: Option<i64>,
    pub(in crate::controller) renew_at: Option<i64>,
    /// The remaining lifetime in seconds that readers of the token can rely on.
    pub(in crate::controller) min_lifetime: Option<u32>,
    pub(in crate::controller) client_credential_expires_at: Option<i64>,
}

impl Shown {
    pub(super) fn of(object: &ApiCredential) -> Self {
        let spec = &object.spec;
        let declared = Self {
            is_static: spec.static_key.is_some(),
            api: spec.api,
            ..Self::default()
        };
        let Some(status) = &object.status else {
            return declared;
        };
        let condition = |kind: ConditionType| kind.find(&status.conditions);
        let ready = condition(ConditionType::Ready);
        let client_expiring = condition(ConditionType::ClientCredentialExpiring).map(reason);
        let not_ready = ready.filter(|c| c.status == "False").map(reason);
        let failing = condition(ConditionType::RenewalFailing).map(reason);
        // A wait is not a failure, and neither is a state that a user requested.
        let fails = |why: &Known| !why.is_some_and(Reason::is_wait);
        let seconds = |at: &Timestamp| at.as_second();
        let wanted = !spec.suspend.unwrap_or_default();
        let issued = status.issued_at.as_ref();
        let expires = status.expires_at.as_ref().filter(|_| wanted);
        let renews = status.renew_at.as_ref().filter(|_| wanted);
        let lifetime = issued.zip(expires);
        let lifetime = lifetime.map(|(issued, expires)| expires.0.duration_since(issued.0));
        Self {
            published: issued.is_some(),
            ready: ready.and_then(|c| match c.status.as_str() {
                "True" => Some(true),
                "False" => Some(false),
                _ => None,
            }),
            not_ready,
            failing: failing.or_else(|| not_ready.filter(fails)),
            client_expiring,
            permissions_missing: condition(ConditionType::PermissionsMissing)
                .is_some_and(|c| c.status == "True"),
            expires_at: expires.map(|at| seconds(&at.0)),
            renew_at: renews.map(|at| seconds(&at.0)),
            min_lifetime: lifetime.map(|lifetime| {
                let least = promise(object).min_lifetime(lifetime).as_secs();
                u32::try_from(least.max(0)).unwrap_or(u32::MAX)
            }),
            client_credential_expires_at: status
                .client
                .as_ref()
                .and_then(|client| client.expires_at.as_ref())
                .map(|at| seconds(&at.0)),
            ..declared
        }
    }

    /// Whether its token has less remaining lifetime than the minimum.
    pub(in crate::controller) fn below_minimum(&self, now: i64) -> bool {
        let least = i64::from(self.min_lifetime.unwrap_or_default());
        self.expires_at.is_some_and(|at| at - now < least)
    }

    /// Returns a value if its client credential expires soon. True: it has expired.
    pub(in crate::controller) fn client_expired(&self) -> Option<bool> {
        let expired = |why: Known| why.is_some_and(Reason::is_expired);
        self.client_expiring.map(expired)
    }

    /// Whether the expiry of its client credential is known and reported.
    pub(in crate::controller) fn client_expires_soon(&self) -> bool {
        // These reasons have the lowest priorities in the condition, so no expiry is reported with them.
        let others = [Reason::SecretExpiryUnreadable, Reason::LastGoodNotWritten].map(Some);
        self.client_expiring
            .is_some_and(|why| !others.contains(&why))
    }

    /// Whether its token has expired.
    pub(in crate::controller) fn expired(&self, now: i64) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}

fn reason(condition: &Condition) -> Known {
    Reason::parse(&condition.reason)
}

/// The promise to readers, limited to the minimum remaining lifetime.
fn promise(object: &ApiCredential) -> Promise {
    let minimum = object.spec.min_lifetime;
    Promise {
        minimum: minimum.and_then(|d| SignedDuration::try_from(std::time::Duration::from(d)).ok()),
        notified: false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn shown(spec: &Value, conditions: &Value) -> Shown {
        let mut object = json!({
            "apiVersion": "apicred.dev/v1alpha1",
            "kind": "ApiCredential",
            "metadata": { "name": "c", "namespace": "secops" },
            "spec": { "target": { "secretName": "t" } },
            "status": {
                "issuedAt": "2026-07-27T10:00:00Z",
                "expiresAt": "2026-07-27T11:00:00Z",
                "renewAt": "2026-07-27T10:30:00Z",
                "conditions": conditions,
            },
        });
        for (key, value) in spec.as_object().unwrap() {
            object["spec"][key] = value.clone();
        }
        Shown::of(&serde_json::from_value(object).unwrap())
    }

    fn condition(kind: &str, status: &str, reason: &str) -> Value {
        json!({ "type": kind, "status": status, "reason": reason, "message": "", "lastTransitionTime": "2026-07-27T10:00:00Z" })
    }

    #[test]
    fn a_renewal_that_fails_counts_with_a_good_token_and_without_and_a_wait_does_not() {
        let missing = Some(Some(Reason::ClientSecretMissing));
        let cases = [
            (json!([]), None, None),
            (
                json!([condition("Ready", "True", "TokenPublished")]),
                None,
                None,
            ),
            (
                json!([condition("Ready", "Unknown", "Pending")]),
                None,
                None,
            ),
            (
                json!([
                    condition("Ready", "True", "TokenPublished"),
                    condition("RenewalFailing", "True", "ClientSecretMissing")
                ]),
                None,
                missing,
            ),
            (
                json!([condition("Ready", "False", "ClientSecretMissing")]),
                missing,
                missing,
            ),
            (
                json!([condition("Ready", "False", "Suspended")]),
                Some(Some(Reason::Suspended)),
                None,
            ),
            (
                json!([condition("Ready", "False", "OfANewerVersion")]),
                Some(None),
                Some(None),
            ),
            (
                json!([
                    condition("Ready", "False", "TokenExpired"),
                    condition("RenewalFailing", "True", "ClientSecretMissing")
                ]),
                Some(Some(Reason::TokenExpired)),
                missing,
            ),
        ];
        for (conditions, not_ready, failing) in cases {
            let shown = shown(&json!({}), &conditions);
            assert_eq!(
                (shown.not_ready, shown.failing),
                (not_ready, failing),
                "{conditions}"
            );
        }
    }

    #[test]
    fn the_end_of_a_client_credential_is_reported_by_its_condition() {
        for (reason, ended, ending) in [
            ("", None, false),
            ("SecretExpiring", Some(false), true),
            ("CertificateExpiring", Some(false), true),
            ("SecretExpired", Some(true), true),
            ("ClientCredentialRefused", Some(false), true),
            ("SecretExpiryUnreadable", Some(false), false),
            ("LastGoodNotWritten", Some(false), false),
        ] {
            let reported = condition("ClientCredentialExpiring", "True", reason);
            let conditions = if reason.is_empty() {
                json!([])
            } else {
                json!([reported])
            };
            let shown = shown(&json!({}), &conditions);
            let seen = (shown.client_expired(), shown.client_expires_soon());
            assert_eq!(seen, (ended, ending), "{reason}");
        }
    }

    #[test]
    fn a_token_breaks_its_own_minimum_and_that_of_a_suspended_credential_breaks_none() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap().as_second();
        let usual = shown(&json!({}), &json!([]));
        assert_eq!(usual.min_lifetime, Some(900));
        assert_eq!(usual.renew_at, Some(at("2026-07-27T10:30:00Z")));
        assert!(!usual.below_minimum(at("2026-07-27T10:45:00Z")));
        assert!(usual.below_minimum(at("2026-07-27T10:45:01Z")));
        assert!(!usual.expired(at("2026-07-27T10:59:59Z")));
        assert!(
            usual.expired(at("2026-07-27T11:00:00Z"))
                && usual.below_minimum(at("2026-07-27T11:00:00Z"))
        );
        let longer = shown(&json!({ "minLifetime": "30m" }), &json!([]));
        assert_eq!(longer.min_lifetime, Some(1800));
        assert!(longer.below_minimum(at("2026-07-27T10:31:00Z")));
        let suspended = shown(&json!({ "suspend": true }), &json!([]));
        assert!(
            !suspended.below_minimum(at("2026-07-28T00:00:00Z"))
                && !suspended.expired(at("2026-07-28T00:00:00Z"))
        );
        let times = |of: Shown| (of.published, of.expires_at, of.renew_at, of.min_lifetime);
        assert_eq!(times(suspended), (true, None, None, None));
        let resumed = shown(&json!({ "suspend": false }), &json!([]));
        assert_eq!(times(resumed), times(usual));
    }
}
