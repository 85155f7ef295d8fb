//! Shows which origins get data in a sign-in. If no administrator vouches for the issuer, it asks the user.

use apicred::{
    credential::{Credential, IssuerId},
    oauth::sign_in::{Consent, Destination, discovery},
};

use crate::terminal;

/// Before the discovery document is requested. A `TokenIssuer` for which an administrator vouches is shown later, with its endpoints.
pub(crate) async fn before_discovery(
    consent: &mut Consent,
    credential: &Credential,
) -> Result<(), String> {
    let Some(place) = discovery(&credential.issuer) else {
        return Ok(());
    };
    let places = [place];
    if consent.check(&places)? {
        confirm(consent, credential, &places).await
    } else {
        consent.allow(&places);
        Ok(())
    }
}

/// Before any other request is sent or any page is opened.
pub(crate) async fn before_sign_in(
    consent: &mut Consent,
    credential: &Credential,
    places: &[Destination],
) -> Result<(), String> {
    if consent.check(places)? {
        return confirm(consent, credential, places).await;
    }
    let new: Vec<Destination> = consent.unseen(places).into_iter().cloned().collect();
    if new.len() == places.len() {
        show(credential, places);
    } else if !new.is_empty() {
        // The device authorization endpoint names the page where the user enters the code.
        for line in lines(credential, &new).iter().skip(1) {
            terminal::err(line);
        }
    }
    consent.allow(places);
    Ok(())
}

async fn confirm(
    consent: &mut Consent,
    credential: &Credential,
    places: &[Destination],
) -> Result<(), String> {
    show(credential, places);
    if !terminal::can_ask() {
        let mut flags: Vec<String> = Vec::new();
        for place in places {
            let flag = format!("--issuer {}", place.origin);
            if !flags.contains(&flag) {
                flags.push(flag);
            }
        }
        return Err(format!(
            "no administrator vouches for {}, and there is no terminal to ask you; nothing was sent. If you know where this sign-in may send its data, name each origin: {}",
            credential.issuer.id,
            flags.join(" ")
        ));
    }
    let question = format!(
        "No administrator vouches for {}. The operators of these addresses can act as you with the data that this sign-in sends. Continue?",
        credential.issuer.id
    );
    if !terminal::ask(&question).await {
        return Err("you did not agree; nothing was sent".to_owned());
    }
    consent.allow(places);
    Ok(())
}

fn show(credential: &Credential, places: &[Destination]) {
    for line in lines(credential, places) {
        terminal::err(&line);
    }
}

/// One line per origin: the user compares names, and does not search a list.
pub(crate) fn lines(credential: &Credential, places: &[Destination]) -> Vec<String> {
    let request = &credential.request;
    let wanted = request
        .scopes
        .iter()
        .chain(&request.resources)
        .chain(&request.audience);
    let wanted: Vec<&str> = wanted.map(String::as_str).collect();
    let whose = match &credential.issuer.id {
        IssuerId::Object(..) => format!("{} sends", credential.issuer.id),
        IssuerId::Inline(_) => "This sign-in sends".to_owned(),
    };
    let mut lines = vec![
        format!(
            "Client {} requests: {}",
            credential.client_id,
            if wanted.is_empty() {
                "the defaults of the issuer".to_owned()
            } else {
                wanted.join(" ")
            }
        ),
        format!("{whose} your data to:"),
    ];
    let mut origins: Vec<&str> = Vec::new();
    for place in places {
        if !origins.contains(&place.origin.as_str()) {
            origins.push(&place.origin);
        }
    }
    for origin in origins {
        let here = places.iter().filter(|p| p.origin == origin);
        let what: Vec<&str> = here.map(|p| p.part.describe()).collect();
        lines.push(format!("  {origin}: {}", what.join("; ")));
    }
    if credential.issuer.ca_bundle.is_some() && !credential.issuer.vouched {
        lines.push(format!(
            "  certificates of these addresses may be signed by the caBundle of {}",
            credential.issuer.id
        ));
    }
    lines
}
