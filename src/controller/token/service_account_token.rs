//! Tokens of ServiceAccounts for issuers, and why the API server rejects a token request.

use crate::Reason;
use k8s_openapi::api::{
    authentication::v1::{TokenRequest, TokenRequestSpec},
    core::v1::ServiceAccount,
};
use kube::{Api, api::PostParams};
use secrecy::SecretString;

use super::denied::{denied, unavailable};
use crate::controller::{
    api::calls::{ApiErrorKind, Failed, call_with_message},
    context::Context,
};
use crate::{
    credential::{AccountToken, Credential, binding},
    oauth::{Class, TokenEndpoint, TokenError},
};

/// A token of a ServiceAccount for the issuer. The annotations of the ServiceAccount state where its tokens may be sent and for
/// which audiences, like those of a Secret.
pub(in crate::controller) async fn account_token(
    context: &Context,
    credential: &Credential,
    account: &AccountToken,
    endpoint: Option<&TokenEndpoint>,
) -> Result<SecretString, TokenError> {
    let api: Api<ServiceAccount> = Api::namespaced(context.client.clone(), &credential.namespace);
    let name = &account.name;
    let audience = account.audience_at(credential, endpoint);
    let own = &context.settings.identity.api_audiences;
    binding::may_request_audience(name, &audience, own).map_err(|d| denied(&d))?;
    let heard = call_with_message(
        &context.metrics,
        "get_service_account",
        || true,
        || api.get(name),
        None,
    );
    let right = "get on serviceaccounts";
    let object = heard.await.map_err(|f| account_error(name, right, &f))?;
    let notes = object.metadata.annotations.as_ref();
    binding::may_use_account(credential, endpoint, name, notes, &audience)
        .map_err(|d| denied(&d))?;
    let body = TokenRequest {
        spec: TokenRequestSpec {
            audiences: vec![audience],
            expiration_seconds: Some(account.seconds),
            bound_object_ref: None,
        },
        ..TokenRequest::default()
    };
    let params = PostParams::default();
    let heard = call_with_message(
        &context.metrics,
        "create_service_account_token",
        || true,
        || api.create_subresource("token", name, &params, &body),
        None,
    );
    let right = "create on serviceaccounts/token";
    let made: TokenRequest = heard.await.map_err(|f| account_error(name, right, &f))?;
    let token = made.status.ok_or_else(unavailable)?.token;
    binding::may_leave(name, &token, own).map_err(|d| denied(&d))?;
    Ok(SecretString::from(token))
}

/// Why the API server returns no token of a ServiceAccount, with its message if there is one. `right`: the permission that the call needs.
fn account_error(name: &str, right: &str, failed: &Failed) -> TokenError {
    let server_message = failed.server_message.fault();
    let bracket = server_message
        .as_ref()
        .map_or_else(String::new, |server_message| format!(" ({server_message})"));
    let refuse = |class, reason, text: String| TokenError::local(class, reason, text);
    match failed.error_kind {
        ApiErrorKind::NotFound => refuse(
            Class::Invalid,
            Reason::ServiceAccountMissing,
            format!("ServiceAccount {name} does not exist{bracket}; create it or correct the name"),
        ),
        // Denied by RBAC, or without a message.
        ApiErrorKind::Forbidden
            if failed.server_message.is_rights() || server_message.is_none() =>
        {
            refuse(
                Class::Transient,
                Reason::ServiceAccountForbidden,
                format!(
                    "apicred may not use ServiceAccount {name}{bracket}; its role lacks {right}: set the chart value serviceAccountTokens"
                ),
            )
        }
        ApiErrorKind::Forbidden | ApiErrorKind::Invalid | ApiErrorKind::Quota => refuse(
            Class::Invalid,
            Reason::ServiceAccountTokenRefused,
            format!(
                "the API server refuses a token of ServiceAccount {name}{bracket}; correct audience or expirationSeconds, or ask the owner of the policy that it names to allow it"
            ),
        ),
        ApiErrorKind::Terminating => refuse(
            Class::Invalid,
            Reason::ServiceAccountTokenRefused,
            format!(
                "the namespace is being deleted, and the API server issues no token of ServiceAccount {name} any more"
            ),
        ),
        _ => match server_message {
            Some(server_message) => refuse(
                Class::Transient,
                Reason::KubernetesUnavailable,
                format!(
                    "the API server currently issues no token of ServiceAccount {name} ({server_message}); apicred tries again"
                ),
            ),
            None => unavailable(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::rejection::{Answer, ServerMessage};

    fn refused(error_kind: ApiErrorKind, code: u16, message: &str) -> TokenError {
        let answer = Answer {
            code,
            message,
            causes: &[],
        };
        let server_message = ServerMessage::read(answer, None);
        account_error(
            "sync",
            "create on serviceaccounts/token",
            &Failed {
                error_kind,
                server_message,
            },
        )
    }

    #[test]
    fn why_there_is_no_token_is_reported_with_the_api_servers_message() {
        let policy = "serviceaccounts \"sync\" is forbidden: ValidatingAdmissionPolicy 'audiences' with binding 'all' denied request: only api:// audiences";
        #[rustfmt::skip]
        let cases = [
            (ApiErrorKind::NotFound, 404, "serviceaccounts \"sync\" not found", "ServiceAccountMissing", Class::Invalid, "serviceaccounts \"sync\" not found"),
            (ApiErrorKind::Forbidden, 403, "serviceaccounts \"sync\" is forbidden: User \"system:serviceaccount:apicred:apicred\" cannot create resource \"serviceaccounts/token\" in API group \"\"", "ServiceAccountForbidden", Class::Transient, "chart value serviceAccountTokens"),
            (ApiErrorKind::Forbidden, 403, policy, "ServiceAccountTokenRefused", Class::Invalid, "the admission policy audiences denies it: \"only api:// audiences\""),
            (ApiErrorKind::Invalid, 422, policy, "ServiceAccountTokenRefused", Class::Invalid, "the admission policy audiences denies it: \"only api:// audiences\""),
            (ApiErrorKind::Invalid, 400, "admission webhook \"guard.example\" denied the request: not at night", "ServiceAccountTokenRefused", Class::Invalid, "the admission webhook guard.example denies it: \"not at night\""),
            (ApiErrorKind::Invalid, 422, "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: 60: may not specify a duration less than 10 minutes", "ServiceAccountTokenRefused", Class::Invalid, "less than 10 minutes"),
            (ApiErrorKind::Unavailable, 500, "Internal error occurred: failed calling webhook \"guard.example\": refused", "KubernetesUnavailable", Class::Transient, "the admission webhook guard.example does not answer"),
        ];
        for (error_kind, code, message, reason, class, words) in cases {
            let token_error = refused(error_kind, code, message);
            assert_eq!(
                (token_error.reason.as_str(), token_error.class),
                (reason, class),
                "{message}"
            );
            let reported = token_error.message();
            assert!(
                reported.contains(words) && reported.contains("sync"),
                "{message}: {reported}"
            );
        }
        // Without a response there is no message.
        let silent = account_error(
            "sync",
            "get on serviceaccounts",
            &ApiErrorKind::Forbidden.into(),
        );
        assert_eq!(silent.reason, Reason::ServiceAccountForbidden);
        let silent = account_error(
            "sync",
            "get on serviceaccounts",
            &ApiErrorKind::Unavailable.into(),
        );
        assert_eq!(silent.reason, Reason::KubernetesUnavailable);
    }
}
