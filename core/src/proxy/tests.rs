use std::net::IpAddr;

use ipnet::IpNet;
use proptest::prelude::*;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::{
    credential::addresses::{allowed, fit_for_proxy},
    proxy::{Fault, Proxy},
};

fn proxy(url: &str, direct: &[&str]) -> Result<Proxy, Fault> {
    let direct: Vec<String> = direct.iter().map(|e| (*e).to_owned()).collect();
    Proxy::parse(&SecretString::from(url.to_owned()), &direct)
}

fn reported(fault: &Fault) -> String {
    fault.message("--issuer-proxy", "--issuer-no-proxy")
}

#[test]
fn a_url_is_read_and_its_user_and_password_are_taken_out_and_decoded() {
    for (text, url, credentials) in [
        ("http://proxy:3128", "http://proxy:3128/", None),
        (" https://proxy.example/ ", "https://proxy.example/", None),
        ("http://[fd00::1]:8080", "http://[fd00::1]:8080/", None),
        (
            "http://ada:pw@10.0.0.1:1",
            "http://10.0.0.1:1/",
            Some("ada:pw"),
        ),
        ("http://ada@proxy", "http://proxy/", Some("ada:")),
        (
            "http://a%40b:p%3Aw%2F%25%C3%BC+@proxy",
            "http://proxy/",
            Some("a@b:p:w/%ü+"),
        ),
        // Characters that are unambiguous without encoding are accepted.
        ("http://ada:p@w@proxy", "http://proxy/", Some("ada:p@w")),
    ] {
        let read = proxy(text, &[]).unwrap_or_else(|e| panic!("{text}: {}", reported(&e)));
        assert_eq!(read.url().as_str(), url, "{text}");
        let found = read.credentials().map(ExposeSecret::expose_secret);
        assert_eq!(found, credentials, "{text}");
    }
}

#[test]
fn a_url_that_is_none_is_reported_with_its_fix_and_without_a_letter_of_it() {
    for (text, fix) in [
        ("", "http://proxy.example:3128"),
        ("hunter2", "http://proxy.example:3128"),
        ("http://", "http://proxy.example:3128"),
        ("http://hunter2:hunter2@:3128", "http://proxy.example:3128"),
        ("http://hunter2:hun/ter2@proxy:3128", "percent-encode"),
        ("http://proxy:99999", "http://proxy.example:3128"),
        ("socks5://hunter2:hunter2@proxy:1080", "http://"),
        ("hunter2:3128", "http://"),
        ("http://hunter2:hunter2@proxy/hunter2", "percent-encode"),
        ("http://proxy?hunter2", "percent-encode"),
        ("http://proxy#hunter2", "percent-encode"),
        ("http://hunter2:%zz@proxy", "%25"),
        ("http://hunter2:100%@proxy", "%25"),
        ("http://hunter2:%ff@proxy", "%25"),
        ("http://hunter2%3A:x@proxy", "colon"),
    ] {
        let fault = proxy(text, &[])
            .err()
            .unwrap_or_else(|| panic!("{text} was taken"));
        let reported = reported(&fault);
        assert!(
            reported.starts_with("--issuer-proxy ") && reported.contains(fix),
            "{text}: {reported}"
        );
        assert!(!reported.contains("hunter2"), "{reported}");
    }
}

#[test]
fn what_is_reached_directly_is_read_as_other_programs_read_it() {
    #[rustfmt::skip]
    let table: [(&str, &[&str], &[&str]); 14] = [
        ("example.com", &["https://example.com/", "https://a.b.example.com/", "https://EXAMPLE.com.:8443/"], &["https://notexample.com/", "https://example.com.evil/"]),
        (".example.com", &["https://a.example.com/"], &["https://example.com/", "https://aexample.com/"]),
        ("*.example.com", &["https://a.example.com/"], &["https://example.com/"]),
        ("Example.COM.", &["https://example.com/"], &["https://com/"]),
        ("example.com:8443", &["https://example.com:8443/"], &["https://example.com/"]),
        (".svc:443", &["https://a.b.svc/"], &["https://a.b.svc:444/", "https://svc/"]),
        ("bücher.example", &["https://xn--bcher-kva.example/", "https://bücher.example/"], &["https://bucher.example/"]),
        ("localhost", &["https://localhost/"], &["https://127.0.0.1/"]),
        ("10.1.2.3", &["https://10.1.2.3/", "https://10.1.2.3:1/", "https://0x0a010203/", "https://[::ffff:10.1.2.3]/"], &["https://10.1.2.4/", "https://10.1.2.3.example/"]),
        ("10.1.2.3:8443", &["https://10.1.2.3:8443/"], &["https://10.1.2.3/"]),
        ("[fd00::1]:8443", &["https://[fd00::1]:8443/"], &["https://[fd00::1]/"]),
        ("fd00::1", &["https://[fd00:0::1]/"], &["https://[fd00::2]/"]),
        ("10.0.0.0/8", &["https://10.255.0.1/", "https://[::ffff:10.0.0.1]/"], &["https://11.0.0.1/", "https://10.0.0.0.example/"]),
        ("*", &["https://example.com/", "https://10.1.2.3/", "https://[fd00::1]/"], &[]),
    ];
    for (entry, direct, proxied) in table {
        let read = proxy("http://proxy", &[entry]).unwrap_or_else(|e| panic!("{}", reported(&e)));
        for url in direct {
            assert!(!read.serves(&Url::parse(url).unwrap()), "{entry} and {url}");
        }
        for url in proxied {
            assert!(read.serves(&Url::parse(url).unwrap()), "{entry} and {url}");
        }
    }
    let list = proxy("http://proxy", &["", " a.example ", "b.example", " "])
        .ok()
        .unwrap();
    let serves = |url: &str| list.serves(&Url::parse(url).unwrap());
    assert!(!serves("https://a.example/") && !serves("https://b.example/"));
    assert!(serves("https://c.example/") && serves("https://proxy/"));
}

#[test]
fn an_entry_that_cannot_be_one_is_named_with_its_fix() {
    for entry in [
        "https://example.com",
        "example.com/path",
        "example.com:",
        "example.com:0",
        "example.com:https",
        "example.com:65536",
        "10.0.0.0/33",
        "10.0.0/x",
        ".10.0.0.1",
        "*.*",
        "a*.example.com",
        "..example.com",
        "a..b",
        "a b",
        ".",
        "[fd00::1",
    ] {
        let fault = proxy("http://proxy", &["fine.example", entry])
            .err()
            .unwrap_or_else(|| panic!("{entry} was taken"));
        let reported = reported(&fault);
        let fits = reported.starts_with("--issuer-no-proxy: ") && reported.contains(&format!("{entry:?}"));
        assert!(fits && reported.contains("10.0.0.0/8"), "{reported}");
    }
}

#[test]
fn a_name_that_means_nothing_here_is_left_to_the_proxy_unless_it_is_of_the_inside() {
    for name in [
        "login.microsoftonline.com",
        "idp.example",
        "localhost.example.com",
        "notlocal.example",
        "svc.example.com",
        "a.svc.example.com",
        // Looks like any other name. If it is a name of the cluster, it resolves here.
        "kubernetes.default",
    ] {
        assert!(fit_for_proxy(name, &[], &[]).is_ok(), "{name}");
    }
    let everything: Vec<IpNet> = ["0.0.0.0/0", "::/0"].map(|n| n.parse().unwrap()).into();
    for name in [
        "localhost",
        "LOCALHOST",
        "localhost.",
        "idp",
        "a.localhost",
        "printer.local",
        "metadata.google.internal",
        "Metadata.Google.Internal.",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
        "kubernetes.default.svc.cluster.example",
        "0.idp.team.svc.k8s.example.com",
        "idp.corp",
        "vault.lan",
        "nas.home.arpa",
    ] {
        let refused = fit_for_proxy(name, &[], &[]).unwrap_err().to_string();
        assert!(refused.contains("internal host name"), "{name}: {refused}");
        // An allowed network shows nothing about a name that does not resolve.
        assert!(fit_for_proxy(name, &[], &everything).is_err(), "{name}");
        // The addresses of a name count more than its form.
        assert!(
            fit_for_proxy(name, &["8.8.8.8".parse().unwrap()], &[]).is_ok(),
            "{name}"
        );
    }
}

proptest! {
    #[test]
    fn the_proxy_gets_a_name_only_if_all_its_addresses_are_allowed(
        found in prop::collection::vec(any::<IpAddr>(), 1..6),
        near in prop::collection::vec((10u8..12, any::<u8>()), 0..3),
        net in 8u8..12,
    ) {
        let found: Vec<IpAddr> = found.into_iter().chain(near.into_iter().map(|(a, d)| IpAddr::from([a, 0, 0, d]))).collect();
        let nets = [IpNet::new(IpAddr::from([net, 0, 0, 0]), 8).unwrap()];
        let fits = fit_for_proxy("idp.example.com", &found, &nets).is_ok();
        prop_assert_eq!(fits, found.iter().all(|a| allowed(*a, &nets)));
        // The proxy is never used for a destination to which no direct connection would be made.
        prop_assert!(!fits || found.iter().any(|a| allowed(*a, &nets)));
    }

    #[test]
    fn no_text_breaks_the_parser_and_what_is_below_a_suffix_is_reached_directly(
        entry in ".{0,24}",
        name in "[a-z]{1,8}(\\.[a-z]{1,8}){0,3}",
        above in "[a-z]{1,8}",
    ) {
        let _ = proxy(&entry, &[]);
        let _ = proxy("http://proxy", &[&entry]);
        let past = |direct: &str, host: &str| {
            !proxy("http://proxy", &[direct]).ok().unwrap().serves(&Url::parse(&format!("https://{host}/")).unwrap())
        };
        let below = format!("{above}.{name}");
        prop_assert!(past(&name, &name) && past(&name, &below));
        let suffix = format!(".{name}");
        prop_assert!(past(&suffix, &below) && !past(&suffix, &name));
        let glued = format!("{above}{name}");
        prop_assert!(!past(&name, &glued));
    }

    #[test]
    fn a_user_and_a_password_survive_their_encoding(user in "[^:]{1,16}", password in ".{0,24}") {
        let encode = |text: &str| {
            text.bytes().map(|b| format!("%{b:02X}")).collect::<Vec<_>>().concat()
        };
        let url = format!("http://{}:{}@proxy:3128", encode(&user), encode(&password));
        let read = proxy(&url, &[]).ok().unwrap();
        prop_assert_eq!(read.url().as_str(), "http://proxy:3128/");
        let whole = format!("{user}:{password}");
        prop_assert_eq!(read.credentials().map(ExposeSecret::expose_secret), Some(whole.as_str()));
    }
}
