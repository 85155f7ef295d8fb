//! Decides who may request what from which issuer, and which Secret may be sent where. No other module decides this.
//!
//! | Function | Question |
//! |---|---|
//! | [`may_be_served`], [`may_request`] | may this namespace use this issuer, and send this request to it? |
//! | [`may_open`], [`may_authenticate`] | may this credential, or this client, use the content of this Secret for this purpose? |
//! | [`may_post`] | may it be sent to this origin? |
//! | [`may_manage`] | may its registration access token be sent to this address? |
//! | [`may_send_text`] | may this text from it be sent to any issuer at all? |
//! | [`may_use_account`], [`may_go_to`], [`may_leave`] | may a token of this ServiceAccount be requested, and sent? |
//! | [`may_return`], [`may_refresh`] | may a token that one issuer issued be sent to this issuer? |

use crate::Reason;
use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use url::Url;

pub use super::account_tokens::{
    may_go_to, may_leave, may_request_audience, may_send_text, may_use_account,
};
pub use super::issued::{IssuedBy, issuer_mark, may_call_graph, may_refresh, may_return};
pub use super::limits::{may_be_served, may_request, may_use_cloud};
use super::{
    AuthenticationMethod, Credential, Endpoint, Issuer, IssuerId,
    allowed_issuers::{lists, nearly},
};
use crate::{
    api::{IssuerKind, names},
    oauth::Grant,
};

/// Why a request may not be made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Denial {
    /// The issuer does not serve this namespace.
    Namespace(String),
    /// The issuer does not give this scope.
    Scope(String),
    /// The issuer does not take this parameter or claim.
    Parameter(String),
    /// The issuer does not allow this grant.
    Grant(String),
    /// The issuer does not allow tokens for this subject.
    Subject(String),
    /// This installation does not allow this national cloud of Entra ID.
    Cloud(String),
    /// This installation does not allow this label or annotation on a target.
    TargetKey(String),
    /// The token was issued by another issuer.
    IssuedElsewhere(String),
    /// The Secret does not name this origin.
    Secret(String),
    /// The ServiceAccount does not list this audience.
    Audience(String),
    /// The token of a ServiceAccount is valid at the cluster's own API.
    ServiceAccountToken(String),
}

impl Denial {
    /// Stable reason for conditions.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::Namespace(_) => Reason::NotAuthorizedByIssuer,
            Self::Scope(_) => Reason::ScopeNotAllowed,
            Self::Parameter(_) => Reason::ParameterNotAllowed,
            Self::Grant(_) => Reason::GrantNotAllowed,
            Self::Subject(_) => Reason::SubjectNotAllowed,
            Self::Cloud(_) => Reason::CloudNotAllowed,
            Self::TargetKey(_) => Reason::TargetKeyNotAllowed,
            Self::IssuedElsewhere(_) => Reason::IssuedByAnotherIssuer,
            Self::Secret(_) => Reason::NotAuthorizedBySecret,
            Self::Audience(_) => Reason::AudienceNotAllowed,
            Self::ServiceAccountToken(_) => Reason::ServiceAccountTokenRefused,
        }
    }

    /// The fix, in a sentence.
    pub fn message(&self) -> &str {
        match self {
            Self::Namespace(text)
            | Self::Scope(text)
            | Self::Parameter(text)
            | Self::Grant(text)
            | Self::Subject(text)
            | Self::Cloud(text)
            | Self::TargetKey(text)
            | Self::IssuedElsewhere(text)
            | Self::Secret(text)
            | Self::Audience(text)
            | Self::ServiceAccountToken(text) => text,
        }
    }
}

/// The purpose for which a Secret is read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Use {
    /// Client authentication: a client secret, or a certificate with its key.
    Client,
    /// An input of the grant: a refresh token, an assertion, a subject token, a password.
    Grant,
    /// The static key: its content is copied into the target Secret.
    StaticKey,
    /// The value of one of `spec.parameters`.
    Parameter,
}

/// Checks whether the content of this Secret may be used by `credential` for `purpose`, and sent to its issuer. Every read of a Secret passes
/// this check. An annotation that reserves a Secret for one use excludes every other use:
///
/// | The Secret has | It may be used for |
/// |---|---|
/// | `state-of: NAME` | the grant `refreshToken` of that credential |
/// | `publish-by: NAMES` | `spec.static` of these credentials |
/// | a token that apicred published | nothing; with `allowed-issuers` the grants that exchange a token, at these issuers |
///
/// # Errors
/// If the Secret does not allow it.
pub fn may_open(credential: &Credential, purpose: Use, meta: &ObjectMeta) -> Result<(), Denial> {
    let issuer = &credential.issuer;
    if purpose == Use::Client {
        return may_authenticate(issuer, &credential.authentication, meta);
    }
    let grant = (purpose == Use::Grant).then_some(&credential.grant);
    let serves = Serves {
        exchange: matches!(
            grant,
            Some(Grant::OnBehalfOf(_) | Grant::TokenExchange(_) | Grant::JwtBearer(_))
        ),
        refresh: matches!(grant, Some(Grant::RefreshToken(_))),
        publication: purpose == Use::StaticKey,
    };
    serves.may_use(issuer, meta)?;
    let secret = meta.name.as_deref().unwrap_or_default();
    let annotations = meta.annotations.as_ref();
    if matches!(purpose, Use::Grant | Use::StaticKey) {
        may_serve(credential, secret, annotations)?;
    }
    if matches!(issuer.endpoint, Endpoint::Nowhere) {
        return Ok(());
    }
    may_send(issuer, secret, annotations)
}

/// The same for the authentication of a client, for any credential that uses it.
///
/// # Errors
/// If the Secret does not allow it.
pub fn may_authenticate(
    issuer: &Issuer,
    authentication: &AuthenticationMethod,
    meta: &ObjectMeta,
) -> Result<(), Denial> {
    let serves = Serves {
        exchange: matches!(authentication, AuthenticationMethod::Assertion(_)),
        ..Serves::default()
    };
    serves.may_use(issuer, meta)?;
    if matches!(issuer.endpoint, Endpoint::Nowhere) {
        return Ok(());
    }
    let secret = meta.name.as_deref().unwrap_or_default();
    may_send(issuer, secret, meta.annotations.as_ref())
}

/// What a Secret is used for, as far as annotations reserve Secrets for it.
#[derive(Clone, Copy, Default)]
struct Serves {
    /// The exchange of a token, or an assertion.
    exchange: bool,
    /// The grant `refreshToken`.
    refresh: bool,
    /// `spec.static`.
    publication: bool,
}

impl Serves {
    /// Checks that this Secret is not reserved for another use.
    fn may_use(self, issuer: &Issuer, meta: &ObjectMeta) -> Result<(), Denial> {
        let secret = meta.name.as_deref().unwrap_or_default();
        let annotations = meta.annotations.as_ref();
        let has = |key: &str| annotations.is_some_and(|a| a.contains_key(key));
        let only = |text: String| Err(Denial::Secret(format!("Secret {secret} {text}")));
        if has(names::LAST_GOOD_OF) {
            return only(
                "is a copy of a certificate that apicred keeps; name the Secret that it is a copy of"
                    .to_owned(),
            );
        }
        if is_published(meta) && !(self.exchange && has(names::ALLOWED_ISSUERS)) {
            return only(format!(
                "contains a token that apicred published, and no other credential may use it; client.assertion and a grant that exchanges this token need the annotation {}: {} on the Secret",
                names::ALLOWED_ISSUERS,
                issuer.origin
            ));
        }
        if has(names::STATE_OF) && !self.refresh {
            return only(format!(
                "has the annotation {}, so only the grant refreshToken may use it",
                names::STATE_OF
            ));
        }
        if has(names::PUBLISH_BY) && !self.publication {
            return only(format!(
                "has the annotation {}, so only spec.static may use it",
                names::PUBLISH_BY
            ));
        }
        Ok(())
    }
}

/// Whether it contains a token that apicred published, for any credential. The owner reference is checked as well, because an annotation can be
/// removed.
pub fn is_published(meta: &ObjectMeta) -> bool {
    let noted = meta.annotations.as_ref().is_some_and(|a| {
        [names::CREDENTIAL_UID, names::CREDENTIAL]
            .iter()
            .any(|key| a.contains_key(*key))
    });
    noted
        || meta.owner_references.iter().flatten().any(|o| {
            o.kind == "ApiCredential"
                && o.api_version
                    .split_once('/')
                    .is_some_and(|(group, _)| group == names::GROUP)
        })
}

/// Checks whether the content of a Secret with these annotations may be sent to `issuer`.
///
/// # Errors
/// If neither an administrator nor the Secret vouches for the origin.
pub fn may_send(
    issuer: &Issuer,
    secret: &str,
    annotations: Option<&BTreeMap<String, String>>,
) -> Result<(), Denial> {
    may_post(issuer, &issuer.origin, secret, annotations)
}

/// The same for the origin of the endpoint. A discovery document may set it to another host than the issuer's. Otherwise a user who can publish
/// a document on a host that a Secret names could have the secret sent elsewhere.
///
/// # Errors
/// If neither an administrator nor the Secret vouches for the origin, or if the Secret has `allowed-issuers` and does not list the origin.
pub fn may_post(
    issuer: &Issuer,
    origin: &str,
    secret: &str,
    annotations: Option<&BTreeMap<String, String>>,
) -> Result<(), Denial> {
    may_reach(issuer, origin, ("Secret", secret), annotations)
}

/// Checks whether the registration access token of a Secret may be sent to the address of the registration in the same Secret (RFC 7592).
/// `posted` is the origin of the token endpoint. The issuer of the token is at one of the two origins. A user who can write the address, but
/// does not own an issuer, must not have the token sent elsewhere.
///
/// # Errors
/// If the address is elsewhere, contains a user or a password, or the Secret does not allow the origin.
pub fn may_manage(
    issuer: &Issuer,
    (address, posted): (&Url, &str),
    secret: &str,
    annotations: Option<&BTreeMap<String, String>>,
) -> Result<(), Denial> {
    let origin = address.origin().ascii_serialization();
    if origin != issuer.origin && origin != posted {
        return Err(Denial::Secret(format!(
            "the address of the registration in Secret {secret} is neither on the host of the issuer nor of its token endpoint; correct it"
        )));
    }
    if !address.username().is_empty() || address.password().is_some() {
        return Err(Denial::Secret(format!(
            "the address of the registration in Secret {secret} contains a user; remove it from the address"
        )));
    }
    may_post(issuer, &origin, secret, annotations)
}

/// Checks whether the content of this object, or a token of it, may be sent to an origin of `issuer`. `allowed-issuers` limits every issuer,
/// also one that Microsoft or an administrator vouches for.
pub(super) fn may_reach(
    issuer: &Issuer,
    origin: &str,
    (kind, name): (&str, &str),
    annotations: Option<&BTreeMap<String, String>>,
) -> Result<(), Denial> {
    let limited = annotations.is_some_and(|a| a.contains_key(names::ALLOWED_ISSUERS));
    if issuer.vouched && !limited || lists(annotations, names::ALLOWED_ISSUERS, origin) {
        return Ok(());
    }
    // An entry may allow one tenant of Entra ID instead of the host of all tenants.
    let by_tenant = match &issuer.endpoint {
        Endpoint::Entra { authority } => {
            issuer.vouched
                && origin == issuer.origin
                && lists(annotations, names::ALLOWED_ISSUERS, authority)
        }
        _ => false,
    };
    if by_tenant {
        return Ok(());
    }
    let owner = if limited {
        format!(
            "its annotation {} does not list this origin{}; its owner must add {origin} to the list",
            names::ALLOWED_ISSUERS,
            nearly(issuer, origin, annotations)
        )
    } else {
        format!(
            "its owner must set the annotation {}: {origin} on it",
            names::ALLOWED_ISSUERS
        )
    };
    Err(Denial::Secret(format!(
        "{kind} {name} may not be sent to {origin}; {owner}"
    )))
}

/// Checks whether this Secret may be used for the grant or the static key of this credential. A static key is copied and a state Secret is
/// written to, so their owners must allow it: otherwise a user who may create credentials could read the one and damage the other. Entra ID
/// passes a password on: in a tenant with pass-through authentication, which according to the ROPC page works with this grant, an agent of the
/// tenant's owner receives it in plain text. So the Secret of a password must name the tenant, if only users of the namespace chose it.
///
/// # Errors
/// If the Secret does not name the credential.
pub fn may_serve(
    credential: &Credential,
    secret: &str,
    annotations: Option<&BTreeMap<String, String>>,
) -> Result<(), Denial> {
    let (annotation, what) = match (&credential.static_key, &credential.grant) {
        (Some(_), _) => (names::PUBLISH_BY, "published"),
        (None, Grant::RefreshToken(_)) => (names::STATE_OF, "used as a refresh token"),
        (None, Grant::Password(_)) => return may_sign_in(&credential.issuer, secret, annotations),
        _ => return Ok(()),
    };
    let named = annotations.and_then(|a| a.get(annotation));
    let me = credential.name.as_str();
    // Several credentials may publish one key; only one may ever use a refresh token.
    let serves = |list: &String| match credential.grant {
        Grant::RefreshToken(_) => is_named(list, me, &credential.uid),
        _ => list.split(',').any(|n| is_named(n, me, &credential.uid)),
    };
    if named.is_some_and(serves) {
        return Ok(());
    }
    Err(Denial::Secret(format!(
        "Secret {secret} may not be {what} by this credential; its owner must set the annotation {annotation}: {me} on it"
    )))
}

/// Checks whether this Secret may be sent as a password to the tenant of an issuer.
fn may_sign_in(
    issuer: &Issuer,
    secret: &str,
    annotations: Option<&BTreeMap<String, String>>,
) -> Result<(), Denial> {
    let administrators = matches!(
        issuer.id,
        IssuerId::Object(IssuerKind::ClusterTokenIssuer, ..)
    );
    // If no administrator vouches for the host, the Secret already lists it.
    let (Endpoint::Entra { authority }, true, false) =
        (&issuer.endpoint, issuer.vouched, administrators)
    else {
        return Ok(());
    };
    if lists(annotations, names::ALLOWED_ISSUERS, authority) {
        return Ok(());
    }
    Err(Denial::Secret(format!(
        "Secret {secret} may not be sent to {authority} as a password, which the owner of the tenant might see; its owner must set the annotation {}: {authority} on it",
        names::ALLOWED_ISSUERS
    )))
}

/// Whether an entry of `state-of`, `publish-by` or `adopt-by` names this credential. `NAME` names any object with the name. `NAME@UID` names
/// one object, and not a later one with the same name.
pub fn is_named(entry: &str, name: &str, uid: &str) -> bool {
    match entry.trim().split_once('@') {
        None => entry.trim() == name,
        Some((pinned, object)) => pinned == name && object == uid && !uid.is_empty(),
    }
}

/// The name of a form parameter as a lenient issuer reads it. PHP reads dots and blanks as underscores, ignores blanks before a name, and reads
/// a bracket as the beginning of a list. So a name that differs here could be read as `scope` there.
pub(crate) fn plain_name(name: &str) -> String {
    let name = name.split(['[', '\0']).next().unwrap_or_default();
    name.trim().to_ascii_lowercase().replace(['.', ' '], "_")
}
