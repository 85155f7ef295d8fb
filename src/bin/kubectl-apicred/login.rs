//! A complete sign-in. Everything that could make it fail is checked before the user signs in.

use std::time::Duration;

use apicred::{
    credential::{Endpoint, addresses, binding::issuer_mark},
    http::Http,
    oauth::sign_in::{
        Consent, Flow, Part, Pkce, RedeemableCode, Sender, authorize_url, destinations,
        for_sign_in, no_refresh_token, of_api, origins, with_requested_scopes,
    },
    proxy::Proxy,
};

use crate::{
    Login, browser,
    callback::{CallbackResult, RedirectListener},
    cluster::Cluster,
    consent, device,
    page::Page,
    report::Report,
    state::State,
    subject::{self, Subject},
    terminal,
    wire::{self, SignedIn, Wire, explain, random},
};

/// How long the plugin waits for a browser.
const PATIENCE: Duration = Duration::from_mins(5);

pub(crate) async fn run(options: Login) -> Result<(), String> {
    let proxy = network(&options)?;
    let cluster = Cluster::connect(&options.target).await?;
    let name = options.target.credential.as_str();
    let subject = subject::find(&cluster, name, &options.networks.allowed_cidrs).await?;
    let chosen = subject.credential.request.qualified(&options.scopes);
    let mut requested = subject.credential.clone();
    if !chosen.is_empty() {
        requested.request.scopes = of_api(&chosen);
    }
    subject::may_request(&cluster, &requested).await?;

    let http = Http::with_proxy(proxy);
    // From here on, one copy of the credential and of its issuer is used: a later change was not shown to the user.
    let mut credential = for_sign_in(&subject.credential);
    if let Some(claims) = claims(&options, &subject) {
        // Only in this copy: the operator never sends them.
        let claims = ("claims".to_owned(), claims);
        credential.request.parameters.extend([claims]);
    }
    let mut consent = Consent::new(&credential.issuer, options.issuers.clone());
    consent::before_discovery(&mut consent, &credential).await?;
    let endpoint = wire::endpoint(&http, &credential)
        .await
        .map_err(|token_error| explain(&token_error))?;
    let flow = if options.device {
        Flow::Device
    } else {
        Flow::Browser
    };
    let places = destinations(&credential, &endpoint, flow);
    // Refused before the client authentication material is read.
    consent.check(&places)?;
    let holders = [Part::Token, Part::Revocation];
    let state = State {
        cluster: &cluster,
        credential: &subject.credential,
        reference: &subject.state,
        origins: origins(&credential.issuer, &places, &holders),
        issuer: issuer_mark(&credential, &endpoint),
        force: options.force,
    };
    state.check().await?;
    let own = if chosen.is_empty() {
        credential.request.scopes.clone()
    } else {
        chosen.clone()
    };
    let credential = with_requested_scopes(credential, &endpoint, &chosen);
    let mut wire = Wire::new(&cluster, http, (credential, endpoint), flow, consent).await?;
    wire.own_scopes = own;
    consent::before_sign_in(&mut wire.consent, &wire.credential, &places).await?;

    let lines = if options.device {
        let signed_in = device::sign_in(&mut wire, places, options.timeout).await?;
        keep(&subject, &wire, &state, &signed_in).await?
    } else {
        by_browser(&options, &subject, &mut wire, &state).await?
    };
    for line in lines {
        terminal::out(&line);
    }
    Ok(())
}

/// Checks the options about the network, and returns the proxy.
fn network(options: &Login) -> Result<Option<Proxy>, String> {
    let networks = &options.networks;
    addresses::check_allowed(&networks.allowed_cidrs, networks.allow_wide_cidrs)
        .map_err(|fault| format!("--allow-cidr: {fault}"))?;
    let proxy = options.proxy.as_ref().map(|url| Proxy::parse(url, &[]));
    proxy
        .transpose()
        .map_err(|fault| fault.message("--proxy (APICRED_PROXY)", ""))
}

/// The claims that this sign-in requests (step-up authentication). A message reports them.
fn claims(options: &Login, subject: &Subject) -> Option<String> {
    let (claims, why) = match (&options.claims, &subject.claims) {
        (Some(claims), _) => (claims, "--claims"),
        (None, Some(claims)) => (claims, "the issuer requested them"),
        (None, None) => return None,
    };
    terminal::err(&format!(
        "This sign-in requests the claims {claims} ({why})."
    ));
    Some(claims.clone())
}

/// Sign-in with a browser on this machine. Its last page is sent at the end, so that it shows the result.
async fn by_browser(
    options: &Login,
    subject: &Subject,
    wire: &mut Wire<'_>,
    state: &State<'_>,
) -> Result<Vec<String>, String> {
    let (sent, code, browser) = loop {
        let (sent, came) = authorize(options, wire).await?;
        let (token_error, browser) = match came {
            CallbackResult::Code(code, browser) => break (sent, code, browser),
            CallbackResult::Refused(token_error, browser) => (token_error, browser),
        };
        let why = wire.explain(&token_error);
        let Some(again) = wire.request_fewer_scopes(&token_error) else {
            browser.show(Page::failed(why.clone())).await;
            return Err(why);
        };
        terminal::err(&again);
        browser
            .show(Page::failed(format!(
                "{again} Continue at the address that the command line shows."
            )))
            .await;
    };
    let ticket = RedeemableCode::Code {
        code: &code,
        redirect_uri: &sent.redirect_uri,
        verifier: &sent.pkce.verifier,
    };
    let done = match wire.redeem(&ticket).await {
        Ok(signed_in) => keep(subject, wire, state, &signed_in)
            .await
            .map(|lines| (lines, signed_in.user)),
        Err(token_error) => Err(wire.explain(&token_error)),
    };
    match done {
        Ok((lines, user)) => {
            let user_part = user.map_or_else(String::new, |name| format!(" as {name}"));
            let text = format!(
                "You are signed in{user_part}. The refresh token is in {}.",
                state.place()
            );
            browser.show(Page::done(text)).await;
            Ok(lines)
        }
        Err(why) => {
            browser.show(Page::failed(why.clone())).await;
            Err(why)
        }
    }
}

/// The values that the authorization request was sent with, and that are needed to redeem its code.
struct Authorization {
    redirect_uri: String,
    pkce: Pkce,
}

/// Opens the sign-in page and waits until the browser returns.
async fn authorize(
    options: &Login,
    wire: &Wire<'_>,
) -> Result<(Authorization, CallbackResult), String> {
    let entra = matches!(wire.credential.issuer.endpoint, Endpoint::Entra { .. });
    let listener =
        RedirectListener::open(entra, options.redirect_uri.as_ref(), options.port).await?;
    let redirect_uri = listener.redirect_uri.clone();
    let (pkce, oauth_state) = (Pkce::new(&random()), wire::state());
    let request = (
        redirect_uri.as_str(),
        oauth_state.as_str(),
        pkce.challenge.as_str(),
    );
    let url = authorize_url(&wire.credential, &wire.endpoint, request)
        .map_err(|token_error| explain(&token_error))?;
    let opened = !options.no_browser && browser::open(&url).await;
    if opened {
        terminal::err("A browser was opened. If it shows no sign-in, go to:");
    } else {
        terminal::err("To sign in, open this address in a browser on this machine:");
    }
    terminal::err("");
    terminal::err(url.as_str());
    terminal::err("");
    terminal::err(&format!(
        "Waiting for the browser to return to {redirect_uri} …"
    ));

    let sender = Sender {
        // RFC 9207: if the answer names its issuer, that must be this issuer. Entra ID does not send it.
        issuer: wire.endpoint.issuer.as_deref().filter(|_| !entra),
        announced: wire.endpoint.names_itself,
        consent: &wire.consent,
    };
    let patience = options.timeout.unwrap_or(PATIENCE);
    let came = listener.wait(&oauth_state, sender, patience).await?;
    Ok((Authorization { redirect_uri, pkce }, came))
}

/// Stores the refresh token; returns the message.
async fn keep(
    subject: &Subject,
    wire: &Wire<'_>,
    state: &State<'_>,
    signed_in: &SignedIn,
) -> Result<Vec<String>, String> {
    let Some(refresh_token) = &signed_in.token.refresh_token else {
        return Err(explain(&no_refresh_token(&wire.credential)));
    };
    state
        .store(refresh_token, &wire.credential.request.scopes)
        .await?;
    let report = Report {
        credential: &subject.credential,
        user: signed_in.user.as_deref(),
        token: &signed_in.token,
        place: &state.place(),
        key: &subject.state.key,
    };
    Ok(report.lines())
}
