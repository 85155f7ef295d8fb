//! Any bytes as a discovery document: a result belongs to this issuer and contains only https URLs.
#![no_main]

use apicred::{
    credential::SecretStyle,
    oauth::discovery::{self, Redirect, Seen},
    printable,
};
use libfuzzer_sys::fuzz_target;
use url::Url;

fuzz_target!(|data: &[u8]| {
    let issuer = "https://login.example.com/tenant";
    for style in [None, Some(SecretStyle::Post)] {
        let Ok(found) = discovery::read(issuer, data, style) else {
            continue;
        };
        assert_eq!(
            found.issuer.as_deref().map(|i| i.trim_end_matches('/')),
            Some("https://login.example.com/tenant")
        );
        let all = [
            &found.mtls_url,
            &found.mtls_revocation,
            &found.mtls_device,
            &found.revocation,
            &found.authorization,
            &found.device,
        ];
        for url in all.into_iter().flatten().chain([&found.url]) {
            assert_eq!(url.scheme(), "https");
            assert!(url.has_host() && url.username().is_empty() && url.password().is_none());
        }
    }
    // The message about an unusable document is bounded and printable.
    if let Err(why) = discovery::read(issuer, data, None) {
        let address: Url = "https://login.example.com/".parse().expect("a URL");
        let message = discovery::conclude(issuer, &[(address, Seen::Unusable(why))]).message();
        assert!(message.len() < 700 && message == printable(&message));
    }
    // A redirect stays within the origin, or is not followed.
    let from: Url = "https://login.example.com/a".parse().expect("a URL");
    let location = std::str::from_utf8(data).ok();
    if let Redirect::Here(to) = discovery::redirected(&from, location) {
        assert_eq!(to.origin(), from.origin());
    }
    // A document for a host in any spelling.
    let other = std::str::from_utf8(data)
        .ok()
        .and_then(|t| Url::parse(t).ok());
    if let Some(other) = other.filter(|u| u.scheme() == "https") {
        for address in discovery::addresses(&other) {
            assert_eq!(address.origin(), other.origin());
        }
    }
});
