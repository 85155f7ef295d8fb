//! The addresses to which a sign-in may send the browser.

use http::Uri;

/// Whether a client that registered the one may request the other. They must be the same, with one exception: a program on
/// a user's machine uses any free port (RFC 8252 section 7.3; <https://learn.microsoft.com/entra/identity-platform/reply-url>,
/// "localhost exceptions"). The path must be equal in this case too, including case, and `localhost` is not `127.0.0.1`.
pub(crate) fn allows(registered: &str, requested: &str) -> bool {
    if requested.contains('#') {
        return false;
    }
    match (loopback(registered), loopback(requested)) {
        (Some(registered), Some(requested)) => registered == requested,
        _ => registered == requested,
    }
}

/// Host, path and query of an address on this machine. An empty path is the same as the root.
fn loopback(address: &str) -> Option<(String, String)> {
    let uri: Uri = address.parse().ok()?;
    let host = uri.host()?;
    let here = uri.scheme_str() == Some("http") && matches!(host, "localhost" | "127.0.0.1");
    let path = uri.path_and_query()?.to_string();
    // `http` reads `user@host`, which no registered address has.
    (here && !uri.authority()?.as_str().contains('@')).then(|| (host.to_owned(), path))
}

/// Whether an address may be registered: absolute, without a fragment, and with http only to this machine.
pub(crate) fn may_be_registered(address: &str) -> bool {
    let Some((scheme, rest)) = address.split_once(':') else {
        return false;
    };
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"+-.".contains(&b);
    let scheme_is_good = !scheme.is_empty() && scheme.bytes().all(plain);
    scheme_is_good
        && !rest.is_empty()
        && address.bytes().all(|b| b.is_ascii_graphic() && b != b'#')
        && (!scheme.eq_ignore_ascii_case("http") || loopback(address).is_some())
}

/// The address with more parameters in its query.
pub(crate) fn with_query(address: &str, parameters: &[(&str, &str)]) -> String {
    let mut all = address.to_owned();
    for (i, (name, value)) in parameters.iter().enumerate() {
        let first = i == 0 && !address.contains('?');
        all.push(if first { '?' } else { '&' });
        all.push_str(name);
        all.push('=');
        all.push_str(&encode(value));
    }
    all
}

/// Percent-encoding of everything that is not unreserved (RFC 3986 section 2.3).
fn encode(value: &str) -> String {
    value
        .bytes()
        .map(|b| {
            if b.is_ascii_alphanumeric() || b"-._~".contains(&b) {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_port_of_this_machine_is_free() {
        for (registered, requested, fits) in [
            ("https://a.example/cb", "https://a.example/cb", true),
            ("https://a.example/cb", "https://a.example/cb/", false),
            ("https://a.example/cb", "https://a.example/CB", false),
            ("https://a.example/cb", "https://a.example:444/cb", false),
            ("https://a.example/cb", "https://a.example/cb?x=1", false),
            ("https://localhost/cb", "https://localhost:1234/cb", false),
            ("http://localhost/cb", "http://localhost:1234/cb", true),
            ("http://localhost:80/cb", "http://localhost:1234/cb", true),
            ("http://localhost/cb", "http://localhost:1234/other", false),
            ("http://localhost/cb", "http://localhost:1234/CB", false),
            ("http://localhost/cb", "http://127.0.0.1:1234/cb", false),
            ("http://127.0.0.1/cb", "http://127.0.0.1:1234/cb", true),
            ("http://localhost", "http://localhost:1234/", true),
            ("http://localhost", "http://localhost:1234", true),
            ("http://localhost/cb", "http://x@localhost:1234/cb", false),
            ("http://localhost/cb", "http://localhost:1234/cb#x", false),
            (
                "http://localhost/cb",
                "http://localhost.evil.example/cb",
                false,
            ),
            ("myapp://auth", "myapp://auth", true),
        ] {
            assert_eq!(
                allows(registered, requested),
                fits,
                "{registered} {requested}"
            );
        }
    }

    #[test]
    fn what_may_be_registered() {
        for good in [
            "https://a.example/cb",
            "http://localhost",
            "http://127.0.0.1:80/x",
            "myapp://a",
        ] {
            assert!(may_be_registered(good), "{good}");
        }
        for bad in [
            "",
            "a.example",
            "http://a.example/cb",
            "https://a.example/#x",
            "https://a b",
            ":x",
        ] {
            assert!(!may_be_registered(bad), "{bad}");
        }
    }

    #[test]
    fn parameters_are_added_and_encoded() {
        let parameters = [("code", "a b&=/"), ("state", "é")];
        let encoded = "code=a%20b%26%3D%2F&state=%C3%A9";
        assert_eq!(with_query("x://y", &parameters), format!("x://y?{encoded}"));
        assert_eq!(
            with_query("x://y?z=1", &parameters),
            format!("x://y?z=1&{encoded}")
        );
    }
}
