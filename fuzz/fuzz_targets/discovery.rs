//! Any bytes as a discovery document: what comes of it speaks for this issuer and leads to https only.
#![no_main]

use apicred::{credential::SecretStyle, issuer::discovery};
use libfuzzer_sys::fuzz_target;
use url::Url;

fuzz_target!(|data: &[u8]| {
    let issuer: Url = "https://login.example.com/tenant".parse().expect("a URL");
    for style in [None, Some(SecretStyle::Post)] {
        let Ok(found) = discovery::read(&issuer, data, style) else {
            continue;
        };
        assert_eq!(
            found.issuer.as_deref().map(|i| i.trim_end_matches('/')),
            Some("https://login.example.com/tenant")
        );
        let all = [
            &found.mtls_url,
            &found.revocation,
            &found.authorization,
            &found.device,
        ];
        for url in all.into_iter().flatten().chain([&found.url]) {
            assert_eq!(url.scheme(), "https");
            assert!(url.has_host() && url.username().is_empty() && url.password().is_none());
        }
    }
    // A document for a host of any spelling.
    let other = std::str::from_utf8(data)
        .ok()
        .and_then(|t| Url::parse(t).ok());
    if let Some(other) = other.filter(|u| u.scheme() == "https") {
        for address in discovery::addresses(&other) {
            assert_eq!(address.origin(), other.origin());
        }
    }
});
