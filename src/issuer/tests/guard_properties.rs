//! The guard against a separate table: prefixes as IANA's special-purpose registries list them, compared bit by
//! bit, without the classification of addresses in `std::net`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use proptest::{prelude::*, sample::select};
use reqwest::dns::Resolve;

use crate::{credential::addresses::allowed, issuer::guard::GuardedResolver};

/// Prefix, its length, and its use.
const CLOSED4: [(&str, u32, &str); 16] = [
    ("0.0.0.0", 8, "this network, and the unspecified address"),
    ("10.0.0.0", 8, "private, RFC 1918"),
    (
        "100.64.0.0",
        10,
        "carrier-grade NAT, RFC 6598; metadata of Alibaba",
    ),
    ("127.0.0.0", 8, "loopback"),
    ("168.63.129.16", 32, "the host endpoint of Azure"),
    (
        "169.254.0.0",
        16,
        "link-local, RFC 3927; metadata of most clouds",
    ),
    ("172.16.0.0", 12, "private, RFC 1918"),
    (
        "192.0.0.0",
        24,
        "protocol assignments, RFC 6890; metadata of Oracle",
    ),
    ("192.0.2.0", 24, "documentation"),
    ("192.168.0.0", 16, "private, RFC 1918"),
    ("198.18.0.0", 15, "benchmarks, RFC 2544"),
    ("198.51.100.0", 24, "documentation"),
    ("203.0.113.0", 24, "documentation"),
    ("224.0.0.0", 4, "multicast"),
    ("240.0.0.0", 4, "reserved"),
    ("255.255.255.255", 32, "broadcast"),
];

/// The closed parts of `2000::/3`. All addresses outside of it are closed.
const CLOSED6: [(&str, u32, &str); 3] = [
    (
        "2001::",
        23,
        "protocol assignments, Teredo and ORCHID among them",
    ),
    ("2001:db8::", 32, "documentation"),
    ("3fff::", 20, "documentation, RFC 9637"),
];

/// Forms of an IPv4 address inside an IPv6 address: prefix, its length, and the distance of the IPv4 address from the end in bits.
const DISGUISES: [(&str, u32, u32); 4] = [
    ("::ffff:0:0", 96, 0),
    ("::", 96, 0),
    ("64:ff9b::", 96, 0),
    ("2002::", 16, 80),
];

/// More prefixes that must be closed, so that enough random addresses are in them.
const ELSEWHERE: [(&str, u32); 12] = [
    ("::1", 128),
    ("::", 128),
    ("::ffff:0:0:0", 96),
    ("64:ff9b:1::", 48),
    ("100::", 64),
    ("5f00::", 16),
    ("fc00::", 7),
    ("fd00:ec2::254", 128),
    ("fe80::", 10),
    ("fec0::", 10),
    ("ff00::", 8),
    ("4000::", 3),
];

fn bits4(text: &str) -> u32 {
    text.parse::<Ipv4Addr>().unwrap().into()
}

fn bits6(text: &str) -> u128 {
    text.parse::<Ipv6Addr>().unwrap().into()
}

/// Returns true if the first `length` bits are equal.
fn within(address: u128, prefix: u128, length: u32) -> bool {
    length == 0 || address >> (128 - length) == prefix >> (128 - length)
}

fn open4(address: u32) -> bool {
    let wide = |a: u32| u128::from(a) << 96;
    !CLOSED4
        .iter()
        .any(|(p, length, _)| within(wide(address), wide(bits4(p)), *length))
}

/// The IPv4 address inside an IPv6 address. `::` and `::1` are not IPv4 addresses in the compatible form.
fn inside(address: u128) -> Option<u32> {
    if address <= 1 {
        return None;
    }
    DISGUISES
        .iter()
        .find(|(p, length, _)| within(address, bits6(p), *length))
        .map(|(_, _, shift)| u32::try_from(address >> shift & 0xffff_ffff).unwrap())
}

fn open(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => open4(v4.into()),
        IpAddr::V6(v6) => {
            let bits = v6.into();
            match inside(bits) {
                Some(v4) => open4(v4),
                None => {
                    within(bits, bits6("2000::"), 3)
                        && !CLOSED6.iter().any(|(p, l, _)| within(bits, bits6(p), *l))
                }
            }
        }
    }
}

/// Any address, with a bias to the prefixes above, their first and last address, and the addresses next to them.
fn address() -> impl Strategy<Value = IpAddr> {
    let near = |prefix: u128, length: u32, tail: u128, edge: u8| {
        let mask = if length == 0 {
            u128::MAX
        } else {
            u128::MAX.checked_shr(length).unwrap_or(0)
        };
        let (first, last) = (prefix & !mask, prefix | mask);
        match edge {
            0 => first,
            1 => last,
            2 => first.wrapping_sub(1),
            3 => last.wrapping_add(1),
            _ => first | (tail & mask),
        }
    };
    let v4 = prop_oneof![
        any::<u32>(),
        (select(CLOSED4.to_vec()), any::<u32>(), 0..8_u8).prop_map(
            move |((p, length, _), tail, edge)| {
                let wide = |a: u32| u128::from(a) << 96;
                // The edges of an IPv4 prefix are 2^96 apart.
                let at = near(wide(bits4(p)), length, wide(tail), edge) >> 96;
                u32::try_from(at).unwrap()
            }
        ),
    ];
    let closed6 = CLOSED6.map(|(p, l, _)| (p, l));
    let disguises = DISGUISES.map(|(p, l, _)| (p, l));
    let prefixes: Vec<(&str, u32)> =
        [&closed6[..], &disguises, &ELSEWHERE, &[("2000::", 3)]].concat();
    let v6 =
        prop_oneof![
            any::<u128>(),
            any::<u128>().prop_map(|a| (a & (u128::MAX >> 3)) | 1 << 125),
            (select(prefixes), any::<u128>(), 0..8_u8)
                .prop_map(move |((p, length), tail, edge)| near(bits6(p), length, tail, edge)),
        ];
    let disguised = (v4.clone(), select(DISGUISES.to_vec()), any::<u128>()).prop_map(
        |(v4, (prefix, _, shift), tail)| {
            bits6(prefix) | u128::from(v4) << shift | (tail & ((1 << shift) - 1))
        },
    );
    prop_oneof![
        v4.prop_map(|a| IpAddr::V4(a.into())),
        v6.prop_map(|a| IpAddr::V6(a.into())),
        disguised.prop_map(|a| IpAddr::V6(a.into())),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5_000))]

    #[test]
    fn for_every_address_the_guard_agrees_with_the_iana_registries(address in address()) {
        prop_assert_eq!(allowed(address, &[]), open(address), "{}", address);
    }

    #[test]
    fn a_network_that_is_allowed_opens_itself_and_not_one_address_more(
        address in address(), network in address(), length in 0..=128_u32,
    ) {
        let most = if network.is_ipv4() { 32 } else { 128 };
        let length = length.min(most);
        let net = IpNet::new(network, u8::try_from(length).unwrap()).unwrap().trunc();
        // A rule for IPv4 also applies to its IPv6 forms; a rule for IPv6 never opens an IPv4 address in an IPv6 form.
        let plain = |a: IpAddr| match a {
            IpAddr::V4(v4) => (true, u128::from(u32::from(v4)) << 96),
            IpAddr::V6(v6) => match inside(v6.into()) {
                Some(v4) => (true, u128::from(v4) << 96),
                None => (false, v6.into()),
            },
        };
        let (is4, bits) = plain(address);
        let covered = match network {
            IpAddr::V4(v4) => is4 && within(bits, u128::from(u32::from(v4)) << 96, length),
            IpAddr::V6(v6) => !is4 && within(bits, v6.into(), length),
        };
        prop_assert_eq!(allowed(address, &[net]), open(address) || covered, "{} with {}", address, net);
    }
}

#[test]
fn each_line_of_the_table_is_closed_and_its_neighbour_is_open() {
    for (prefix, length, what) in CLOSED4 {
        assert!(
            !allowed(prefix.parse().unwrap(), &[]),
            "{prefix}/{length}: {what}"
        );
    }
    for (prefix, length, what) in CLOSED6 {
        assert!(
            !allowed(prefix.parse().unwrap(), &[]),
            "{prefix}/{length}: {what}"
        );
    }
    for (prefix, length) in ELSEWHERE {
        assert!(!allowed(prefix.parse().unwrap(), &[]), "{prefix}/{length}");
    }
    assert!(open4(bits4("11.0.0.0")) && open4(bits4("168.63.129.17")));
}

#[test]
fn a_name_of_this_machine_is_looked_up_and_not_connected_to() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let resolve = |name: &str, nets: Vec<IpNet>| {
        let found = runtime.block_on(GuardedResolver::new(nets).resolve(name.parse().unwrap()));
        found.map(Iterator::count).map_err(|e| e.to_string())
    };
    let refused = resolve("localhost", Vec::new()).unwrap_err();
    assert!(refused.contains("allowedCidrs"), "{refused}");
    assert!(resolve("localhost", crate::credential::addresses::local_networks()).unwrap() >= 1);
}
