//! The refresh token grant, RFC 6749 section 6. [`crate::oauth::renewal`] makes it safe against crashes.

use crate::Reason;
use secrecy::SecretString;

use super::{Classified, Fields, Flow, GrantContext, Refused, User};
use crate::{
    api::{self, SecretKeyRef},
    credential::{Credential, scopes::Dialect},
    oauth::{Class, RequiredInput},
};

/// The scope that requests a refresh token (OpenID Connect Core section 11).
const OFFLINE_ACCESS: &str = "offline_access";

/// The Secret of the refresh token.
#[derive(Clone, Debug, PartialEq)]
pub struct RefreshToken {
    /// Key of the state Secret.
    pub state: SecretKeyRef,
}

impl RefreshToken {
    pub(super) fn new(spec: &api::RefreshToken) -> Self {
        Self {
            state: spec.secret_ref.clone(),
        }
    }
}

impl Flow for RefreshToken {
    fn grant_type(&self) -> &'static str {
        "refresh_token"
    }

    fn needs(&self) -> Vec<RequiredInput> {
        vec![RequiredInput::Line(self.state.clone())]
    }

    fn fields(
        &self,
        grant_inputs: &[SecretString],
        _: &GrantContext<'_>,
    ) -> Result<Fields, String> {
        let token = grant_inputs.first().ok_or("there is no refresh token")?;
        Ok(vec![("refresh_token", token.clone())])
    }

    fn for_user(&self) -> bool {
        true
    }

    /// Never shared: an issuer cannot distinguish a second use from a theft.
    fn is_shareable(&self) -> bool {
        false
    }

    fn user(&self) -> User {
        User::SignsIn
    }

    /// The v2 endpoint of Entra ID returns a new refresh token only if `offline_access` was requested
    /// (learn.microsoft.com/entra/identity-platform/v2-oauth2-auth-code-flow, "Refresh the access token"). Without it, the
    /// refresh token of the sign-in stays and expires 90 days later.
    fn scope(&self, credential: &Credential) -> String {
        let mut scopes = credential.request.scopes.clone();
        let entra = Dialect::of(&credential.issuer) == Dialect::Entra;
        let named = scopes.iter().any(|s| s == OFFLINE_ACCESS);
        if entra && !named && !scopes.is_empty() && credential.request.resources.is_empty() {
            scopes.push(OFFLINE_ACCESS.to_owned());
        }
        scopes.join(" ")
    }

    /// Real servers send `invalid_grant` for an expired or revoked refresh token, and some `invalid_request` (facts, section
    /// 5.4). GitHub, Slack and Google have their own codes.
    fn refused(&self, refused: &Refused<'_>) -> Option<Classified> {
        let credential = refused.credential;
        // A refresh never requests more than the user signed in for (RFC 6749 section 6).
        if refused.is(&["invalid_scope"]) {
            return Some(Classified {
                class: Class::Invalid,
                reason: Reason::InvalidScope,
                next_step: format!(
                    "correct spec.scopes; if the user did not sign in for these scopes, {}",
                    sign_in(credential)
                ),
                until_change: false,
            });
        }
        let dead = refused.is(&[
            "invalid_grant",
            "login_required",
            "interaction_required",
            "consent_required",
            "bad_refresh_token",
            "invalid_refresh_token",
            "refresh_token_expired",
            "expired_refresh_token",
            "token_revoked",
            "token_expired",
            "invalid_rapt",
        ]) || is_named_dead(refused);
        // It cannot be distinguished from a missing parameter, so it is retried slowly and not marked as unusable.
        let doubtful = refused.is(&["invalid_request"]);
        let next_step = if doubtful {
            format!(
                "check scopes, resources and parameters; else {}",
                sign_in(credential)
            )
        } else {
            sign_in(credential)
        };
        (dead || doubtful).then_some(Classified {
            class: Class::NeedsUser,
            reason: if dead {
                Reason::SignInRequired
            } else {
                Reason::RefreshRefused
            },
            next_step,
            until_change: false,
        })
    }
}

/// Atlassian and Gitea send codes about the client for a refresh token that is not valid any more. The text names it.
fn is_named_dead(refused: &Refused<'_>) -> bool {
    // The same words may name the grant, which the client may not use, or be about the client, its address or a failure of the server.
    let of_another = [
        "grant",
        "client",
        "error",
        "address",
        "not allowed",
        "not permitted",
        "not enabled",
        "not authorized",
    ];
    let over = [
        "invalid",
        "not valid",
        "revoked",
        "expired",
        "already used",
        "already been used",
        "was used",
    ];
    refused.is(&["unauthorized_client", "access_denied"])
        && !refused.mentions(&of_another)
        && (refused.mentions(&["refresh token", "refresh_token"]) && refused.mentions(&over)
            || refused.mentions(&["token was already used"]))
}

/// The message for a state Secret without a refresh token. `credential` is `namespace/name`.
pub fn not_signed_in(secret: &str, key: &str, credential: &str) -> String {
    let (namespace, name) = credential.split_once('/').unwrap_or(("", credential));
    format!(
        "Secret {secret} has no key {key}: correct the key of grant.refreshToken, or, if no user has signed in yet, run kubectl apicred login {name} --namespace {namespace}"
    )
}

/// The next step "sign in" of a message; `credential` is `namespace/name`.
pub fn sign_in(credential: &str) -> String {
    let (namespace, name) = credential.split_once('/').unwrap_or(("", credential));
    format!("the user has to sign in again: kubectl apicred login {name} --namespace {namespace}")
}
