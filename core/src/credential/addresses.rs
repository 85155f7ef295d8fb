//! Which IP addresses the operator may connect to for an issuer, and which host names it may send to a proxy.
//!
//! Never resolves a name: the network guard of the shell does that, and applies these rules.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use url::{Host, Url};

/// Domains that exist only inside a network: RFC 6761, 6762 and 8375, and other common ones.
const INNER: [&str; 11] = [
    "localhost",
    "localdomain",
    "local",
    "internal",
    "intranet",
    "private",
    "corp",
    "home",
    "lan",
    "svc",
    "home.arpa",
];

/// Whether a connection to `address` is allowed. Public unicast is always allowed; other addresses only if a CIDR contains them.
pub fn allowed(address: IpAddr, cidrs: &[IpNet]) -> bool {
    let address = canonical(address);
    public(address) || cidrs.iter().any(|net| net.contains(&address))
}

/// Converts an IPv4 address in any IPv6 form to the IPv4 address: mapped (`::ffff:0:0/96`), compatible (`::/96`), NAT64 (`64:ff9b::/96`, RFC
/// 6052) and 6to4 (`2002::/16`).
fn canonical(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else {
        return address;
    };
    let tail = |hi: u16, lo: u16| IpAddr::V4(Ipv4Addr::from(u32::from(hi) << 16 | u32::from(lo)));
    match v6.segments() {
        [0, 0, 0, 0, 0, 0xffff, hi, lo]
        | [0x64, 0xff9b, 0, 0, 0, 0, hi, lo]
        | [0x2002, hi, lo, ..] => tail(hi, lo),
        [0, 0, 0, 0, 0, 0, hi, lo] if v6 != Ipv6Addr::LOCALHOST && v6 != Ipv6Addr::UNSPECIFIED => {
            tail(hi, lo)
        }
        _ => address,
    }
}

/// Globally reachable unicast, by the IANA special-purpose registries (RFC 6890 and its updates).
fn public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            !(v4.is_unspecified()
                || a == 0
                || v4.is_loopback()
                || v4.is_private()
                || v4.is_link_local()
                || v4.is_multicast()
                || a >= 240
                || (a == 100 && (64..128).contains(&b)) // carrier-grade NAT, RFC 6598
                || (a == 192 && b == 0 && c == 0) // protocol assignments
                || (a == 198 && (18..20).contains(&b)) // benchmarks, RFC 2544
                || (a == 168 && b == 63 && v4.octets()[2..] == [129, 16]) // Azure's host endpoint
                || v4.is_documentation())
        }
        IpAddr::V6(v6) => {
            let [first, second, ..] = v6.segments();
            // Only 2000::/3 is assigned as global unicast. In it, protocol assignments (such as Teredo, RFC 2928) and the two ranges for
            // documentation (RFC 3849, RFC 9637) are not.
            (first & 0xe000) == 0x2000
                && !(first == 0x2001 && (second < 0x0200 || second == 0x0db8))
                && !(first == 0x3fff && second < 0x1000)
        }
    }
}

/// Checks a URL whose host is an address and needs no look-up. The network guard of the shell checks names.
///
/// # Errors
/// Why the address is not allowed.
pub fn check_literal(url: &Url, cidrs: &[IpNet]) -> Result<(), AddressNotAllowed> {
    let address = match url.host() {
        Some(Host::Ipv4(v4)) => IpAddr::V4(v4),
        Some(Host::Ipv6(v6)) => IpAddr::V6(v6),
        Some(Host::Domain(_)) => return Ok(()),
        None => return Err(AddressNotAllowed("the URL has no host".to_owned())),
    };
    if allowed(address, cidrs) {
        Ok(())
    } else {
        Err(AddressNotAllowed::to(&address.to_string()))
    }
}

/// Shortest accepted prefixes of IPv4 and IPv6: a wider network contains addresses of many owners.
const SHORTEST: (u8, u8) = (8, 16);

/// Addresses that are dangerous to allow, and what answers there. Most of them belong to a service that issues credentials of the machine.
pub const DANGEROUS: [(&str, &str); 11] = [
    ("169.254.169.254", "the metadata service of most clouds"),
    ("169.254.170.2", "the credentials of ECS tasks"),
    ("169.254.170.23", "the credentials of EKS pods"),
    ("100.100.100.200", "the metadata service of Alibaba Cloud"),
    ("192.0.0.192", "the metadata service of Oracle Cloud"),
    ("168.63.129.16", "Azure's host endpoint"),
    ("fd00:ec2::254", "the metadata service of AWS"),
    ("fd00:ec2::23", "the credentials of EKS pods"),
    ("fd20:ce::254", "the metadata service of Google Cloud"),
    ("0.0.0.0", "this machine"),
    ("::", "this machine"),
];

/// A sentence if a network allows more than its author may expect. Loopback is allowed only by a prefix of loopback alone (`127.0.0.0/8` or
/// longer, `::1/128`), never as part of a wider one.
pub fn too_wide(net: &IpNet) -> Option<String> {
    let shortest = match net {
        IpNet::V4(_) => SHORTEST.0,
        IpNet::V6(_) => SHORTEST.1,
    };
    if net.prefix_len() < shortest {
        return Some(format!(
            "{net} is wider than /{shortest}; name the networks that issuers are in"
        ));
    }
    let loopback = IpAddr::V6(Ipv6Addr::LOCALHOST);
    if net.contains(&loopback) && net.prefix_len() < 128 {
        return Some(format!(
            "{net} contains ::1, which is this machine; name smaller networks"
        ));
    }
    DANGEROUS.iter().find_map(|(address, what)| {
        let address: IpAddr = address.parse().ok()?;
        net.contains(&address)
            .then(|| format!("{net} contains {address}, which is {what}; name smaller networks"))
    })
}

/// Checks the networks of a flag. `wide`: the administrator accepts wide networks.
///
/// # Errors
/// What is wrong with the first network that is too wide, and how to accept it.
pub fn check_allowed(networks: &[IpNet], wide: bool) -> Result<(), String> {
    let fault = networks.iter().find_map(too_wide).filter(|_| !wide);
    fault.map_or(Ok(()), |fault| {
        Err(format!("{fault}, or set --allow-wide-cidrs"))
    })
}

/// Networks of the machine itself, where managed identity endpoints answer.
pub fn local_networks() -> Vec<IpNet> {
    ["127.0.0.0/8", "169.254.0.0/16", "::1/128"]
        .iter()
        .filter_map(|n| n.parse().ok())
        .collect()
}

/// Returns true for plain http to a loopback address, a link-local IPv4 address or `localhost`. Only endpoints of managed identities may use it.
pub fn is_local(url: &Url) -> bool {
    url.scheme() == "http"
        && match url.host() {
            Some(Host::Ipv4(v4)) => v4.is_loopback() || v4.is_link_local(),
            Some(Host::Ipv6(v6)) => v6.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost",
            None => false,
        }
}

/// Why nothing may be sent to an address.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct AddressNotAllowed(String);

impl AddressNotAllowed {
    /// For an address that is not allowed, or a name that resolves to such addresses.
    pub fn to(what: &str) -> Self {
        Self(format!(
            "{what} is not a public address; ask an administrator to allow its network in spec.network.allowedCidrs of a ClusterTokenIssuer, or for every TokenIssuer in the chart value allowCidrs"
        ))
    }
}

/// The host name of an issuer has no address.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NameNotFound {
    /// DNS reports that the name does not exist.
    #[error("the name is not known")]
    Unknown,
    /// DNS does not answer.
    #[error("DNS does not answer")]
    Silent,
}

impl NameNotFound {
    /// Parses the text of the system's resolver, which has no other way to report it: `EAI_AGAIN` in the messages of glibc and musl.
    pub fn of(text: &str) -> Self {
        let silent = ["Temporary failure in name resolution", "Try again"];
        if silent.iter().any(|words| text.contains(words)) {
            Self::Silent
        } else {
            Self::Unknown
        }
    }
}

/// Checks whether a name may be sent to a proxy, if it resolves to `found` here. The proxy resolves the name again, so all addresses must be
/// allowed. A name without addresses, as is usual behind a proxy, must be one that can exist outside.
///
/// # Errors
/// Why it may not.
pub fn fit_for_proxy(
    name: &str,
    found: &[IpAddr],
    cidrs: &[IpNet],
) -> Result<(), AddressNotAllowed> {
    if found.is_empty() && inner(name) {
        return Err(AddressNotAllowed(format!(
            "{name} is an internal host name that does not resolve here; apicred does not send such names to the proxy"
        )));
    }
    if found.iter().all(|address| allowed(*address, cidrs)) {
        Ok(())
    } else {
        Err(AddressNotAllowed::to(name))
    }
}

/// Whether the name can exist only inside: a name without a dot, below a domain of [`INNER`], or of a Service, whatever the cluster's domain is
/// (`name.namespace.svc.domain`).
fn inner(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let below = |domain: &str| {
        name.strip_suffix(domain)
            .is_some_and(|above| above.is_empty() || above.ends_with('.'))
    };
    !name.contains('.')
        || INNER.iter().any(|domain| below(domain))
        || name.split('.').skip(2).any(|label| label == "svc")
}
