//! Network rules: from which addresses a key may be used; and how a client's address is found among what proxies say.

use crate::error::FieldError;
use crate::schema::impl_schema;
use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use utoipa::openapi::{ArrayBuilder, ObjectBuilder, Type};

/// The most networks in one rule.
pub const NETWORKS_MAX: usize = 64;

/// The networks from which a key may be used; none means from anywhere.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NetworkRule(Vec<IpNet>);

impl NetworkRule {
    /// Parses networks (`10.0.0.0/8`, `2001:db8::/32`) and single addresses from a request's `field`.
    ///
    /// # Errors
    /// One [`FieldError`] for each entry that is neither, or one for too many of them.
    pub fn parse<S: AsRef<str>>(field: &str, texts: &[S]) -> Result<Self, Vec<FieldError>> {
        if texts.len() > NETWORKS_MAX {
            return Err(vec![FieldError::new(
                field,
                format!("has {} entries", texts.len()),
                "at most 64 networks",
            )]);
        }
        let mut networks = Vec::with_capacity(texts.len());
        let mut errors = Vec::new();
        for (index, text) in texts.iter().enumerate() {
            match parse_network(text.as_ref()) {
                Some(network) => {
                    // Inserted in order, each once; see `ScopeSet` for why this is no sort.
                    if let Err(place) = networks.binary_search(&network) {
                        networks.insert(place, network);
                    }
                }
                None => errors.push(FieldError::new(
                    format!("{field}[{index}]"),
                    "is not an address or a network",
                    "CIDR notation such as `192.0.2.0/24` or `2001:db8::/32`",
                )),
            }
        }
        if errors.is_empty() { Ok(Self(networks)) } else { Err(errors) }
    }

    /// Whether a request from `address` passes. Without an address only the rule without networks passes.
    pub fn allows(&self, address: Option<IpAddr>) -> bool {
        self.0.is_empty() || address.is_some_and(|address| self.contains(address))
    }

    /// Whether some network contains `address`.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Its networks, in the order given.
    pub fn iter(&self) -> impl Iterator<Item = &IpNet> {
        self.0.iter()
    }

    /// Whether it restricts nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl_schema!(
    NetworkRule,
    ArrayBuilder::new()
        .items(ObjectBuilder::new().schema_type(Type::String).examples(["192.0.2.0/24", "2001:db8::/32"]))
        .max_items(Some(NETWORKS_MAX))
        .unique_items(true)
        .description(Some("Networks in CIDR notation; none means from anywhere.")),
);

fn parse_network(text: &str) -> Option<IpNet> {
    text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok().map(canonical)
}

/// A network in its one spelling: without bits of a host, and as one of IPv4 where it stands for one (`::ffff:192.0.2.0/120`), since
/// that is how addresses are compared.
fn canonical(network: IpNet) -> IpNet {
    let network = network.trunc();
    let IpNet::V6(v6) = network else { return network };
    let mapped = v6.network().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96));
    let v4 = mapped.and_then(|(address, length)| Ipv4Net::new(address, length).ok());
    v4.map_or(network, IpNet::V4)
}

/// The peer's address out of the runtime's `spin-client-addr` (`address:port`), `::ffff:` normalised.
///
/// `0.0.0.0:0`, which a chained call carries, and anything unreadable are "no address".
pub fn peer_address(client_addr: &str) -> Option<IpAddr> {
    let address = match client_addr.parse::<SocketAddr>() {
        Ok(socket) => socket.ip(),
        Err(_) => client_addr.parse::<IpAddr>().ok()?,
    };
    let address = address.to_canonical();
    (!address.is_unspecified()).then_some(address)
}

/// The client's address: the peer, or behind a trusted proxy the rightmost entry of `X-Forwarded-For` that is no trusted proxy.
///
/// `forwarded` is the header's values in the order received. An unreadable entry ends the search with "no address":
/// what lies left of it was not vouched for.
pub fn client_address<'a>(
    peer: Option<IpAddr>,
    forwarded: impl DoubleEndedIterator<Item = &'a str>,
    trusted_proxies: &NetworkRule,
) -> Option<IpAddr> {
    let peer = peer?;
    if trusted_proxies.is_empty() || !trusted_proxies.contains(peer) {
        return Some(peer);
    }
    let mut nearest = peer;
    for value in forwarded.rev() {
        for entry in value.rsplit(',') {
            let address = peer_address(entry.trim())?;
            nearest = address;
            if !trusted_proxies.contains(address) {
                return Some(address);
            }
        }
    }
    Some(nearest)
}

/// Whether an address is reached over the internet: none of a private, loopback, link-local, shared, documentation, benchmark,
/// multicast or reserved network (IANA's registries of special-purpose addresses), also where an IPv4 address of one stands inside an
/// IPv6 address that leads to it.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let special = match address.octets() {
        [0 | 10 | 127 | 224.., ..] => true,
        [100, b, ..] => b & 0xc0 == 64,
        [169, 254, ..] | [192, 168, ..] | [192, 0, 0 | 2, _] | [192, 88, 99, _] => true,
        [172, b, ..] => b & 0xf0 == 16,
        [198, b, ..] if b & 0xfe == 18 => true,
        [198, 51, 100, _] | [203, 0, 113, _] => true,
        _ => false,
    };
    !special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let embedded =
        |high: u16, low: u16| is_public_v4(Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low)));
    match [a, b, c, d, e, f] {
        // Mapped, and through a translator (RFC 6052): as good as the address inside.
        [0, 0, 0, 0, 0, 0xffff] | [0x64, 0xff9b, 0, 0, 0, 0] => embedded(g, h),
        // 6to4, Teredo, documentation, and the rest of what the IETF keeps for protocols.
        [0x2002, ..] | [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, ..] => false,
        // All that is given out so far.
        [0x2000..=0x3fff, ..] => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rule(texts: &[&str]) -> NetworkRule {
        NetworkRule::parse("network", texts).expect("networks")
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    #[test]
    fn rules() {
        let some = rule(&["192.0.2.0/24", "2001:db8::/32", "198.51.100.7"]);
        for inside in ["192.0.2.1", "2001:db8::1", "198.51.100.7", "::ffff:192.0.2.9"] {
            assert!(some.allows(Some(ip(inside))), "{inside}");
        }
        for outside in ["192.0.3.1", "2001:db9::1", "198.51.100.8", "::1"] {
            assert!(!some.allows(Some(ip(outside))), "{outside}");
        }
        assert!(!some.allows(None));
        assert!(NetworkRule::default().allows(None));
        let errors =
            NetworkRule::parse("network", &["10.0.0.0/8", "10.0.0.0/33", "home"]).expect_err("two are wrong");
        assert_eq!(errors.len(), 2);
    }

    #[test]
    fn a_network_has_one_spelling() {
        for (written, means) in [
            ("192.0.2.77/24", "192.0.2.0/24"),
            ("::ffff:192.0.2.0/120", "192.0.2.0/24"),
            ("::ffff:198.51.100.7", "198.51.100.7/32"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("2001:DB8::1/32", "2001:db8::/32"),
        ] {
            assert_eq!(rule(&[written]), rule(&[means]), "{written}");
        }
        let six = rule(&["::/0"]);
        assert!(six.contains(ip("2001:db8::1")) && !six.contains(ip("192.0.2.1")), "IPv6 alone");
    }

    #[test]
    fn peers() {
        assert_eq!(peer_address("192.0.2.1:4711"), Some(ip("192.0.2.1")));
        assert_eq!(peer_address("[::ffff:192.0.2.1]:1"), Some(ip("192.0.2.1")));
        assert_eq!(peer_address("[2001:db8::1]:443"), Some(ip("2001:db8::1")));
        assert_eq!(peer_address("0.0.0.0:0"), None);
        assert_eq!(peer_address("unix"), None);
    }

    #[test]
    fn forged_forwarding_is_not_believed() {
        let proxies = rule(&["10.0.0.0/8"]);
        let direct = client_address(Some(ip("203.0.113.5")), ["192.0.2.1"].into_iter(), &proxies);
        assert_eq!(direct, Some(ip("203.0.113.5")), "the peer is no proxy");
        let behind =
            client_address(Some(ip("10.0.0.1")), ["192.0.2.1, 203.0.113.5, 10.0.0.2"].into_iter(), &proxies);
        assert_eq!(behind, Some(ip("203.0.113.5")), "the rightmost untrusted one, not what the client wrote");
        let two = client_address(Some(ip("10.0.0.1")), ["192.0.2.1", "203.0.113.6"].into_iter(), &proxies);
        assert_eq!(two, Some(ip("203.0.113.6")), "several headers are one list");
        assert_eq!(client_address(Some(ip("10.0.0.1")), ["x, 10.0.0.3"].into_iter(), &proxies), None);
        assert_eq!(client_address(Some(ip("10.0.0.1")), std::iter::empty(), &proxies), Some(ip("10.0.0.1")));
        assert_eq!(client_address(None, ["192.0.2.1"].into_iter(), &proxies), None);
    }

    proptest! {
        #[test]
        fn an_untrusted_peer_is_always_the_client(peer: u32, headers in proptest::collection::vec("[0-9., a-f:]{0,40}", 0..3)) {
            let peer = IpAddr::from(peer.to_be_bytes());
            prop_assume!(!rule(&["10.0.0.0/8"]).contains(peer));
            let found = client_address(Some(peer), headers.iter().map(String::as_str), &rule(&["10.0.0.0/8"]));
            prop_assert_eq!(found, Some(peer));
        }

        #[test]
        fn a_network_contains_its_own_addresses(address: u32, bits in 0u8..=32) {
            let text = format!("{}/{bits}", IpAddr::from(address.to_be_bytes()));
            prop_assert!(rule(&[&text]).allows(Some(IpAddr::from(address.to_be_bytes()))));
        }
    }

    #[test]
    fn what_is_public_ends_where_the_registries_say() {
        let ends = [
            ("0.255.255.255", "1.0.0.0"),
            ("10.0.0.0", "9.255.255.255"),
            ("10.255.255.255", "11.0.0.0"),
            ("100.64.0.0", "100.63.255.255"),
            ("100.127.255.255", "100.128.0.0"),
            ("127.0.0.0", "126.255.255.255"),
            ("127.255.255.255", "128.0.0.0"),
            ("169.254.0.0", "169.253.255.255"),
            ("169.254.255.255", "169.255.0.0"),
            ("172.16.0.0", "172.15.255.255"),
            ("172.31.255.255", "172.32.0.0"),
            ("192.0.0.0", "191.255.255.255"),
            ("192.0.0.255", "192.0.1.0"),
            ("192.0.2.0", "192.0.1.255"),
            ("192.0.2.255", "192.0.3.0"),
            ("192.88.99.1", "192.88.98.1"),
            ("192.168.0.0", "192.167.255.255"),
            ("192.168.255.255", "192.169.0.0"),
            ("198.18.0.0", "198.17.255.255"),
            ("198.19.255.255", "198.20.0.0"),
            ("198.51.100.0", "198.51.99.255"),
            ("198.51.100.255", "198.51.101.0"),
            ("203.0.113.0", "203.0.112.255"),
            ("203.0.113.255", "203.0.114.0"),
            ("224.0.0.0", "223.255.255.255"),
            ("255.255.255.255", "223.0.0.1"),
            ("::ffff:10.0.0.1", "::ffff:8.8.8.8"),
            ("64:ff9b::10.0.0.1", "64:ff9b::8.8.8.8"),
            ("64:ff9b:1::8.8.8.8", "64:ff9b::808:808"),
            ("1fff:ffff::1", "2000::1"),
            ("2001:1ff::1", "2001:200::1"),
            ("2001:db8::1", "2001:db9::1"),
            ("2002::1", "2003::1"),
            ("3fff::1", "3ffe::1"),
            ("4000::1", "2606:4700::1111"),
            ("fe80::1", "2a00::1"),
        ];
        for (special, public) in ends {
            assert!(!is_public(ip(special)), "{special}");
            assert!(is_public(ip(public)), "{public}");
        }
    }

    #[test]
    fn a_rule_has_so_many_networks_and_says_which_are_none() {
        let most: Vec<String> = (0..NETWORKS_MAX).map(|n| format!("10.0.{n}.0/24")).collect();
        assert!(NetworkRule::parse("network", &most).is_ok());
        let fields = |texts: &[String]| -> Vec<String> {
            NetworkRule::parse("network", texts)
                .expect_err("too many")
                .into_iter()
                .map(|error| error.field)
                .collect()
        };
        assert_eq!(fields(&[&most[..], &["10.1.0.0/24".to_owned()]].concat()), ["network"]);
        assert_eq!(fields(&["10.0.0.0/8".to_owned(), "x".to_owned()]), ["network[1]"]);
        assert!(!rule(&["10.0.0.0/8"]).is_empty() && NetworkRule::default().is_empty());
        assert!(!NetworkRule::default().contains(ip("10.0.0.1")), "no network has it");
    }
}
