//! Exchanges an authorization code or a device code for tokens.

use crate::Reason;
use jiff::Timestamp;
use secrecy::SecretString;
use url::Url;

use super::device::stated_elsewhere;
use crate::{
    credential::{Credential, Endpoint},
    oauth::{
        AnswerContext, Class, Material, RawAnswer, RequestContext, Token, TokenEndpoint,
        TokenError, TokenRequest, answer, client_request::ClientRequest, encode, grant::Fields,
        request::plain_parameters,
    },
};

/// What is redeemed.
pub enum RedeemableCode<'a> {
    /// An authorization code (RFC 6749 section 4.1.3, RFC 7636 section 4.5).
    Code {
        /// The code.
        code: &'a SecretString,
        /// As in the authorization request, character by character.
        redirect_uri: &'a str,
        /// `code_verifier`.
        verifier: &'a SecretString,
    },
    /// A device code (RFC 8628 section 3.4).
    Device {
        /// The code.
        code: &'a SecretString,
        /// `code_verifier`, if a challenge was sent before.
        verifier: Option<&'a SecretString>,
    },
}

/// Builds the request. `credential` must come from [`super::with_requested_scopes`].
///
/// # Errors
/// If the client authentication cannot be used.
pub fn redemption(
    credential: &Credential,
    endpoint: &TokenEndpoint,
    material: &Material,
    ticket: &RedeemableCode<'_>,
    moment: RequestContext<'_>,
) -> Result<TokenRequest, TokenError> {
    let mut fields: Fields = Vec::new();
    match ticket {
        RedeemableCode::Code {
            code,
            redirect_uri,
            verifier,
        } => {
            fields.push(("grant_type", SecretString::from("authorization_code")));
            fields.push(("code", (*code).clone()));
            fields.push(("redirect_uri", SecretString::from(*redirect_uri)));
            fields.push(("code_verifier", (*verifier).clone()));
            // RFC 8707 section 2.2. An issuer that supports `audience` received it in the authorization request.
            let resources = credential.request.resources.iter();
            fields.extend(resources.map(|r| ("resource", SecretString::from(r.as_str()))));
        }
        RedeemableCode::Device { code, verifier } => {
            let grant = "urn:ietf:params:oauth:grant-type:device_code";
            fields.push(("grant_type", SecretString::from(grant)));
            fields.push(("device_code", (*code).clone()));
            fields.extend(verifier.map(|v| ("code_verifier", v.clone())));
        }
    }
    let url = endpoint.posted_by(material.shows_certificate())?;
    let fields = (fields, Vec::new());
    post(credential, (endpoint, url), material, fields, moment)
}

/// A form with these fields, the client authentication, the parameters of the spec, and `further` ones.
pub(super) fn post(
    credential: &Credential,
    (endpoint, url): (&TokenEndpoint, &Url),
    material: &Material,
    (mut fields, mut further): (Fields, Vec<(&str, SecretString)>),
    moment: RequestContext<'_>,
) -> Result<TokenRequest, TokenError> {
    let mut client = ClientRequest::new(credential, endpoint, material, moment)?;
    fields.append(&mut client.fields);
    further.extend(plain_parameters(&credential.request));
    Ok(client.post(url, encode::body(&fields, &further)))
}

/// Reads the answer.
///
/// # Errors
/// A classified token error.
pub fn redeemed(
    credential: &Credential,
    raw: &RawAnswer,
    sent: Timestamp,
    now: Timestamp,
) -> Result<Token, TokenError> {
    let context = AnswerContext {
        sent,
        now,
        assumed_lifetime: credential.issuer.assumed_lifetime,
    };
    answer(raw, context).map_err(|token_error| {
        let elsewhere = stated_elsewhere(raw, &token_error).map(str::to_owned);
        let error = elsewhere.or_else(|| token_error.error.clone());
        explained(
            credential,
            TokenError {
                error,
                ..token_error
            },
        )
    })
}

/// The meaning of a token error in a sign-in: the user is present, and a code is valid once and for minutes.
pub(super) fn explained(credential: &Credential, mut token_error: TokenError) -> TokenError {
    let public = matches!(
        credential.authentication,
        crate::credential::AuthenticationMethod::Public
    );
    match (token_error.aadsts, token_error.error.as_deref()) {
        // Entra ID treats the application as a confidential one.
        (Some(7_000_218), _) if public => {
            token_error.next_step = "at the application, under Authentication, register http://localhost below \"Mobile and desktop applications\" (not Web) and allow public client flows".into();
        }
        (None, Some("invalid_grant")) => {
            token_error.reason = Reason::CodeRefused;
            token_error.next_step =
                "the issuer did not accept the code: it is valid once, and only for some minutes; run the command again"
                    .into();
        }
        _ if token_error.reason == Reason::ClientRefused => {
            token_error.next_step = format!(
                "check client.id and the {}",
                credential.authentication.noun()
            )
            .into();
        }
        _ => {}
    }
    token_error
}

/// What to do if the answer contains tokens but no refresh token.
pub fn no_refresh_token(credential: &Credential) -> TokenError {
    let offline = credential
        .request
        .scopes
        .iter()
        .any(|s| s == "offline_access");
    let fix = match (&credential.issuer.endpoint, offline) {
        (Endpoint::Entra { .. }, true) => {
            "consent to offline_access for this application in Entra ID, and check that no policy removes it"
        }
        (Endpoint::Entra { .. }, false) => {
            "request offline_access: do not set --scopes, or add it there"
        }
        (_, true) => {
            "allow this client the refresh token grant and offline access at the issuer; some issuers require an additional parameter (spec.parameters)"
        }
        (_, false) => {
            "allow this client the refresh token grant at the issuer, and request its scope: add --scopes with offline_access, or with the name that the issuer uses"
        }
    };
    TokenError::local(
        Class::Invalid,
        Reason::NoRefreshToken,
        format!(
            "the issuer gave an access token and no refresh token, so nothing was stored; {fix}"
        ),
    )
}
