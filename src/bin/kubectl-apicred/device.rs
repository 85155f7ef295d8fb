//! Sign-in with a device code, which the user types into any browser.

use std::time::{Duration, Instant};

use apicred::{
    credential::Endpoint,
    oauth::sign_in::{
        Destination, Device, Pace, Part, Pkce, Poll, RedeemableCode, device_answer, device_request,
    },
};

use crate::{
    consent, terminal,
    wire::{SignedIn, Wire, random},
};

/// Shows the code and polls until the user has decided. `places` are already allowed.
pub(crate) async fn sign_in(
    wire: &mut Wire<'_>,
    mut places: Vec<Destination>,
    timeout: Option<Duration>,
) -> Result<SignedIn, String> {
    // Some issuers require PKCE here as well (facts, section 5.4); Entra ID does not support it here.
    let entra = matches!(wire.credential.issuer.endpoint, Endpoint::Entra { .. });
    let pkce = (!entra).then(|| Pkce::new(&random()));
    let challenge = pkce.as_ref().map(|p| p.challenge.as_str());
    let device = loop {
        let answered = wire
            .exchange(
                |credential, endpoint, material, moment| {
                    device_request(credential, endpoint, material, challenge, moment)
                },
                |credential, raw, _, now| device_answer(credential, raw, now),
            )
            .await;
        let token_error = match answered {
            Ok(device) => break device,
            Err(token_error) => token_error,
        };
        let why = wire.explain(&token_error);
        terminal::err(&wire.request_fewer_scopes(&token_error).ok_or(why)?);
    };
    // The issuer's answer contains the page: with a code of another issuer, the user would sign in there for this one.
    for page in std::iter::once(&device.page).chain(&device.direct) {
        places.push(Destination::new(Part::Verification, page));
    }
    consent::before_sign_in(&mut wire.consent, &wire.credential, &places).await?;
    show(&device);

    let patience = timeout.map_or(device.lifetime, |t| t.min(device.lifetime));
    let (began, mut pace) = (
        Instant::now(),
        Pace {
            interval: device.interval,
        },
    );
    let ticket = RedeemableCode::Device {
        code: &device.code,
        verifier: pkce.as_ref().map(|p| &p.verifier),
    };
    // A separate deadline: some servers never report that the user declined (facts, section 5.4).
    while let Some(left) = patience.checked_sub(began.elapsed()) {
        tokio::time::sleep(pace.interval.min(left)).await;
        match wire.redeem(&ticket).await {
            Ok(signed_in) => return Ok(signed_in),
            Err(token_error) => {
                if let Poll::Over(token_error) = pace.after(token_error) {
                    return Err(wire.explain(&token_error));
                }
            }
        }
    }
    Err("no sign-in with the code before the timeout; run the command again".to_owned())
}

fn show(device: &Device) {
    terminal::err(&format!(
        "To sign in, open {} in a browser and enter the code",
        device.page
    ));
    terminal::err("");
    terminal::err(&format!("    {}", device.user_code));
    terminal::err("");
    if let Some(direct) = &device.direct {
        terminal::err(&format!("or open {direct}"));
    }
    terminal::err("Enter it only if you have run this command yourself. Waiting …");
}
