use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use proptest::prelude::*;
use url::Url;

use crate::credential::addresses::{allowed, check_literal, too_wide};

fn ip(text: &str) -> IpAddr {
    text.parse()
        .unwrap_or_else(|_| panic!("{text} is no address"))
}

const PUBLIC: [&str; 16] = [
    "1.1.1.1",
    "8.8.8.8",
    "20.190.128.1",
    "100.63.255.255",
    "100.128.0.1",
    "172.15.0.1",
    "172.32.0.1",
    "192.167.1.1",
    "198.17.0.1",
    "198.20.0.1",
    "223.255.255.254",
    "168.63.129.15",
    "2606:4700::1111",
    "2001:4860:4860::8888",
    "2001:200::1",
    "::ffff:8.8.8.8",
];

#[rustfmt::skip]
const FORBIDDEN: [&str; 47] = [
    // This host and this network.
    "127.0.0.1", "127.255.255.254", "::1", "0.0.0.0", "0.1.2.3", "::",
    // Private.
    "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.0.1", "100.64.0.1", "100.127.255.255", "fc00::1", "fd12:3456::1",
    // Link-local, and the metadata services of clouds.
    "169.254.0.1", "169.254.169.254", "169.254.170.2", "fe80::1", "febf::1", "fd00:ec2::254", "168.63.129.16",
    // Special purposes.
    "192.0.0.170", "192.0.2.1", "198.51.100.1", "203.0.113.1", "198.18.0.1", "198.19.255.255", "224.0.0.1", "239.1.1.1",
    "240.0.0.1", "255.255.255.255", "ff02::1", "fec0::1", "100::1", "2001:db8::1", "3fff::1", "2001:0:1::1", "2001:2::1",
    "5f00::1",
    // IPv4 addresses in IPv6 form.
    "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "::10.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b:1::1",
    "2002:7f00:1::1", "2002:a9fe:a9fe::",
];

#[test]
fn public_addresses_are_reached_and_no_others() {
    for address in PUBLIC {
        assert!(allowed(ip(address), &[]), "{address}");
    }
    for address in FORBIDDEN {
        assert!(!allowed(ip(address), &[]), "{address}");
    }
}

#[test]
fn an_allowed_network_opens_itself_in_every_disguise_and_nothing_beside_it() {
    let nets: Vec<IpNet> = ["10.20.0.0/16", "127.0.0.1/32", "fd00:1::/32"]
        .map(|n| n.parse().unwrap())
        .into();
    for address in [
        "10.20.255.1",
        "::ffff:10.20.0.1",
        "64:ff9b::10.20.0.1",
        "127.0.0.1",
        "fd00:1:2::3",
        "8.8.8.8",
    ] {
        assert!(allowed(ip(address), &nets), "{address}");
    }
    for address in [
        "10.21.0.1",
        "127.0.0.2",
        "::1",
        "fd00:2::1",
        "169.254.169.254",
        "::ffff:10.21.0.1",
    ] {
        assert!(!allowed(ip(address), &nets), "{address}");
    }
}

#[test]
fn an_address_in_a_url_is_checked_in_every_spelling() {
    let check = |url: &str| {
        check_literal(&Url::parse(url).unwrap(), &[]).map_err(|refused| refused.to_string())
    };
    for url in [
        "https://127.0.0.1/",
        "https://127.1/",
        "https://0x7f.1/",
        "https://2130706433/",
        "https://0177.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://169.254.169.254/metadata",
        "https://[fe80::1]/",
    ] {
        let refused = check(url).unwrap_err();
        assert!(
            refused.contains("spec.network.allowedCidrs"),
            "{url}: {refused}"
        );
    }
    assert_eq!(check("https://8.8.8.8/"), Ok(()));
    assert_eq!(
        check("https://localhost/"),
        Ok(()),
        "names are checked when they are looked up"
    );
    assert!(check("data:text/plain,x").is_err());
}

proptest! {
    #[test]
    fn a_disguise_never_changes_the_answer(bits: u32, cidr in prop::option::of(any::<u32>())) {
        let v4 = Ipv4Addr::from(bits);
        let nets: Vec<IpNet> = cidr.map(|c| IpNet::new(IpAddr::V4(Ipv4Addr::from(c)), 9).unwrap()).into_iter().collect();
        let plain = allowed(IpAddr::V4(v4), &nets);
        let [hi, lo] = [(bits >> 16) as u16, (bits & 0xffff) as u16];
        for v6 in [
            v4.to_ipv6_mapped(),
            Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, hi, lo),
            Ipv6Addr::new(0x2002, hi, lo, 0, 0, 0, 0, 1),
        ] {
            prop_assert_eq!(allowed(IpAddr::V6(v6), &nets), plain, "{} as {}", v4, v6);
        }
    }
}

#[test]
fn a_network_that_opens_more_than_its_author_may_know_is_reported() {
    let reported = |net: &str| too_wide(&net.parse().unwrap());
    for fine in [
        "10.0.0.0/8",
        "10.20.0.0/16",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "127.0.0.0/8",
        "127.0.0.1/32",
        "169.254.0.0/25",
        "100.64.0.0/16",
        "fd12:3456::/32",
        "::1/128",
        "2001:db8::/32",
    ] {
        assert_eq!(reported(fine), None, "{fine}");
    }
    for (wide, expected) in [
        ("0.0.0.0/0", "wider than /8"),
        ("::/0", "wider than /16"),
        ("126.0.0.0/7", "wider than /8"),
        ("128.0.0.0/1", "wider than /8"),
        ("0.0.0.0/8", "this machine"),
        ("0.0.0.0/32", "this machine"),
        ("169.254.0.0/16", "169.254.169.254"),
        ("169.254.169.254/32", "169.254.169.254"),
        ("169.254.170.0/24", "169.254.170.2"),
        ("168.63.129.16/32", "Azure"),
        ("168.0.0.0/8", "Azure"),
        ("100.64.0.0/10", "Alibaba"),
        ("192.0.0.0/24", "Oracle"),
        ("fc00::/7", "wider than /16"),
        ("fd00::/8", "wider than /16"),
        ("fd00:ec2::/32", "AWS"),
        ("fd20:ce::/32", "Google"),
        ("::/96", "this machine"),
        ("::/127", "this machine"),
        ("fe80::/10", "wider than /16"),
    ] {
        let fault = reported(wide).unwrap_or_default();
        assert!(fault.contains(expected), "{wide}: {fault}");
        assert!(fault.starts_with(wide), "{fault}");
    }
}

proptest! {
    #[test]
    fn no_accepted_network_opens_loopback_or_metadata_on_the_side(address: u32, length in 0_u8..=32) {
        let net = ipnet::Ipv4Net::new(address.into(), length).unwrap().trunc();
        if too_wide(&ipnet::IpNet::V4(net)).is_none() {
            for bad in ["169.254.169.254", "168.63.129.16", "0.0.0.0", "100.100.100.200"] {
                prop_assert!(!net.contains(&bad.parse::<std::net::Ipv4Addr>().unwrap()));
            }
            let loopback: ipnet::Ipv4Net = "127.0.0.0/8".parse().unwrap();
            prop_assert!(loopback.contains(&net) || !net.contains(&loopback));
        }
    }
}
