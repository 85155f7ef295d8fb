//! Next steps for the grant and the client of a credential.

use crate::{
    Reason,
    api::SecretKeyRef,
    credential::{AuthenticationMethod, Credential, Endpoint, SecretStyle},
    oauth::{
        Class, Grant, NextStep, Note, TokenError,
        classes::{self, Seen},
        gateway::{self, By},
        grant::User,
    },
};

/// A server received no certificate from a client that has one.
pub(super) const CERTIFICATE_LOST: &str = "the server at the token endpoint requires a client certificate and received none, although client.mtls is set: check that nothing between (a load balancer, a firewall that inspects TLS) ends the connection, and that this is the URL for mutual TLS";

/// Whether the answer may be about something that another client secret does not change. A password or a refresh token is never sent
/// again because of a guess, and no client secret helps a server that requires a client certificate.
pub(super) fn is_about_another(credential: &Credential, seen: &Seen<'_>) -> bool {
    let is_mtls = credential.authentication.shows_certificate();
    let certificate = matches!(seen.by, Some(By::NoCertificate | By::CertificateNotTrusted))
        || matches!(seen.status, 495 | 496);
    let failure = seen.error.is_some_and(classes::names_failure);
    let input = match credential.grant {
        Grant::Password(_) => {
            failure || seen.text.contains("password") || gateway::is_of_either(seen.text)
        }
        Grant::RefreshToken(_) => failure,
        _ => false,
    };
    input || certificate && !is_mtls
}

/// The next step for a grant without a user, or with only a password: no user can sign in or answer there.
pub(super) fn without_user(credential: &Credential, token_error: &mut TokenError) {
    let user = credential.grant.user();
    let next_step = match (user, token_error.reason) {
        (User::SignsIn | User::BringsToken, _) => return,
        // An administrator or owner acts here, and the sentence names that role.
        (_, Reason::ConsentRequired | Reason::BlockedByPolicy)
        | (User::Password, Reason::UserNotAssigned | Reason::PasswordExpired) => {
            token_error.class = Class::Denied;
            return;
        }
        (User::Password, Reason::MfaRequired | Reason::InteractionRequired) => {
            "the grant password cannot complete MFA or another interaction: use grant.refreshToken, or ask an administrator to exempt this user"
        }
        (User::Password, _) => {
            token_error.reason = Reason::PasswordRefused;
            "the issuer does not accept only a password for this user: check the user name and password, or use grant.refreshToken"
        }
        (User::None, Reason::MfaRequired | Reason::InteractionRequired) => {
            token_error.reason = Reason::BlockedByPolicy;
            "a policy requires a user to respond, and this grant has no user: the owner of the policy must exempt this client"
        }
        (User::None, Reason::UserNotAssigned) => {
            token_error.reason = Reason::RoleNotAssigned;
            "assign an app role of the API to the application"
        }
        (User::None, _) => {
            token_error.reason = Reason::GrantRefused;
            "the issuer does not issue tokens to this client without a user: allow this grant for the client at the issuer, or check the inputs of the grant"
        }
    };
    token_error.class = Class::Denied;
    token_error.next_step = next_step.into();
}

/// For an assertion with another audience than the issuer expects: where the audience is set.
pub(super) const fn of_audience(authentication: &AuthenticationMethod) -> &'static str {
    match authentication {
        AuthenticationMethod::Assertion(_) => {
            "the issuer expects another audience in the JWT of client.assertion; have the program that writes it set the audience (aud) that the issuer accepts"
        }
        AuthenticationMethod::ServiceAccount(_) => {
            "the issuer expects another audience in the token of the ServiceAccount; set client.serviceAccount.audience to the one that it accepts"
        }
        AuthenticationMethod::IdentityAssertion(_) | AuthenticationMethod::ManagedIdentity(_) => {
            "the issuer expects another audience in the token of the managed identity; register the audience of this token there"
        }
        _ => {
            "the issuer expects another audience in the assertion; set assertionAudience on the issuer"
        }
    }
}

/// For a refused assertion from a Secret: apicred cannot make a new one, so the same one is not sent every few seconds.
pub(super) fn of_stored_assertion(credential: &Credential, token_error: &mut TokenError) {
    let AuthenticationMethod::Assertion(SecretKeyRef { name, key }) = &credential.authentication
    else {
        return;
    };
    let text = match token_error.reason {
        Reason::AssertionReplayed => format!(
            "store a new JWT under key {key} of Secret {name}; the issuer accepts each one once"
        ),
        Reason::AssertionTimeRefused => format!(
            "the JWT under key {key} of Secret {name} was outside of the time that the issuer accepts; store a new one, and check the clock and the lifetime of the program that writes it"
        ),
        _ => return,
    };
    token_error.class = Class::Denied;
    token_error.next_step = text.into();
}

/// The values of an extension grant.
const SENT: &str = "the values of grant.extension.parameters and the Secrets that they name";

/// For an extension grant whose request the issuer does not accept, or refuses with an unknown error.
pub(super) fn of_extension(credential: &Credential, token_error: &mut TokenError) {
    if !matches!(credential.grant, Grant::Extension(_)) {
        return;
    }
    match token_error.reason {
        Reason::InvalidRequest => {
            let rest = "then scopes, resources, audience and parameters";
            let text =
                format!("a request parameter is missing or not accepted: check {SENT}, {rest}");
            token_error.next_step = text.into();
        }
        Reason::RequestRefused => {
            let note = format!("check {SENT}");
            token_error.next_step.note(Note::Clause(note));
        }
        _ => {}
    }
}

/// The next step for a refused client.
pub(super) fn client_refused(
    credential: &Credential,
    seen: &Seen<'_>,
    token_error: &TokenError,
) -> NextStep {
    // A secret is not in doubt if the issuer's code is about the client alone.
    let is_open = match credential.authentication {
        AuthenticationMethod::Public | AuthenticationMethod::Absent => true,
        _ => !seen.error.is_some_and(|error| error.contains("client")),
    };
    let sends = is_open && matches!(credential.grant, Grant::Extension(_));
    let mut step = NextStep::from(of_authentication(credential, sends));
    // `ServiceNow` has one answer for all of them.
    let inputs = match credential.grant {
        Grant::Password(_) => Some("a wrong user name or password"),
        Grant::RefreshToken(_) => {
            Some("a refresh token that is not valid any more (another sign-in replaces it)")
        }
        _ => None,
    };
    if let (Some(inputs), Some("server_error")) = (inputs, seen.error) {
        let note = format!("the issuer may answer the same for {inputs}");
        step.note(Note::Clause(note));
    }
    let has_error = token_error.error.is_some();
    if seen.status == 401 && !has_error && gateway::is_of_either(seen.text) {
        let note =
            "a gateway before the token endpoint can answer this as well: check what it requires";
        step.note(Note::Clause(note.to_owned()));
    }
    step
}

/// By the client authentication. `sends`: what an extension grant sends may be the cause, and is named first.
fn of_authentication(credential: &Credential, sends: bool) -> String {
    match &credential.authentication {
        AuthenticationMethod::Public => {
            let first = if sends {
                format!("check {SENT}, and client.id; if they are right")
            } else {
                "check client.id; if it is right".to_owned()
            };
            return format!(
                "{first}, the client is not registered as a public client, or the issuer does not allow a public client this grant: register it so, or set client.secrets or client.certificates"
            );
        }
        AuthenticationMethod::Absent if sends => {
            return format!(
                "check {SENT}; if they are right, the issuer demands a client: set client"
            );
        }
        AuthenticationMethod::Absent => {
            return "the issuer demands a client: set client, or check that the assertion names one"
                .to_owned();
        }
        _ => {}
    }
    let noun = credential.authentication.noun();
    let entra = matches!(credential.issuer.endpoint, Endpoint::Entra { .. });
    let more = match &credential.authentication {
        _ if entra => "",
        AuthenticationMethod::Secrets(_)
            if matches!(credential.issuer.style, Some(SecretStyle::Jwt(_))) =>
        {
            "; if they are right, check the authentication method and algorithm that the client is registered for (clientAuthentication.secretJwt), and assertionAudience"
        }
        AuthenticationMethod::Secrets(_) => {
            "; if they are right, the client may be registered for another authentication method: set clientAuthentication on the issuer"
        }
        AuthenticationMethod::Key(_) => {
            "; if they are right, register its public key (kubectl apicred jwks NAME prints it) and this kid, or check the audience (assertionAudience) and the algorithm of the assertion"
        }
        AuthenticationMethod::Certificates(_) => {
            "; if they are right, check the audience (assertionAudience), the algorithm and the registered key or issuer of the assertion"
        }
        AuthenticationMethod::ServiceAccount(_) => {
            "; if they are right, check the audience (client.serviceAccount.audience), and the issuer and subject that are registered for it"
        }
        AuthenticationMethod::Assertion(_) => {
            "; if they are right, check the audience, issuer, subject and signature of the JWT, which the program that writes it decides, and what is registered for them"
        }
        AuthenticationMethod::IdentityAssertion(_) => {
            "; if they are right, check the issuer, subject and audience that are registered for the identity"
        }
        AuthenticationMethod::Mtls(_) => {
            "; if they are right, check the subject that is registered for it, and whether the server wants the certificates of its CA after it (Spring: append them to tls.crt)"
        }
        _ => "",
    };
    let first = if sends {
        format!("{SENT}, and ")
    } else {
        String::new()
    };
    format!("check {first}client.id and the {noun}{more}")
}
