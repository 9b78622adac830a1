//! Network rules: what a rule contains, against masks over 128 bits in which IPv4 addresses lie mapped; and texts of any kind.
#![no_main]

use arbitrary::Arbitrary;
use keyward_domain::network::{NetworkRule, peer_address};
use libfuzzer_sys::fuzz_target;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

#[derive(Debug, Clone, Copy, Arbitrary)]
enum Address {
    V4([u8; 4]),
    V6([u8; 16]),
    /// An IPv4 address as IPv6 sockets show it.
    Mapped([u8; 4]),
}

#[derive(Debug, Arbitrary)]
struct Input {
    networks: [(Address, u8); 3],
    count: u8,
    asked: Address,
    /// Asks for a neighbour of the first network instead: this many of its lowest bits are those of `asked`.
    near: Option<u8>,
    port: u16,
}

impl Address {
    fn ip(self) -> IpAddr {
        match self {
            Self::V4(octets) => Ipv4Addr::from(octets).into(),
            Self::V6(octets) => Ipv6Addr::from(octets).into(),
            Self::Mapped(octets) => Ipv4Addr::from(octets).to_ipv6_mapped().into(),
        }
    }
}

/// The 128 bits of an address; those of IPv4 as they are mapped.
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// Whether the first `length` of 128 bits are the same, and both are of the same family: `::/0` is all of IPv6, and nothing of IPv4.
fn within(address: IpAddr, network: IpAddr, length: u8) -> bool {
    let length = if network.is_ipv4() { length + 96 } else { length };
    let is_mapped = |bits: u128| bits >> 32 == 0xffff;
    let network_is_v4 = length >= 96 && is_mapped(bits(network));
    if is_mapped(bits(address)) != network_is_v4 {
        return false;
    }
    let differ = bits(address) ^ bits(network);
    length == 0 || differ >> (128 - u32::from(length)) == 0
}

fuzz_target!(|data: &[u8]| {
    let (text, input) = keyward_fuzz::read::<Input>(data);
    // Any lines: what is a rule can be written down and read again as the same rule.
    if let Ok(rule) = NetworkRule::parse("network", &text.lines().collect::<Vec<_>>()) {
        let json = serde_json::to_string(&rule).expect("plain data");
        let written: Vec<String> = serde_json::from_str(&json).expect("a list of texts");
        assert_eq!(NetworkRule::parse("network", &written).as_ref(), Ok(&rule), "{json}");
        assert_eq!(serde_json::from_str::<NetworkRule>(&json).expect("its own text"), rule);
    }

    let Some(input) = input else { return };
    let networks: Vec<(IpAddr, u8)> = input.networks[..usize::from(input.count % 4)]
        .iter()
        .map(|(address, length)| {
            let address = address.ip();
            (address, length % if address.is_ipv4() { 33 } else { 129 })
        })
        .collect();
    let texts: Vec<String> = networks.iter().map(|(address, length)| format!("{address}/{length}")).collect();
    let rule = NetworkRule::parse("network", &texts).unwrap_or_else(|errors| panic!("{texts:?}: {errors:?}"));
    let asked = match (input.near, networks.first()) {
        (Some(low), Some((network, _))) => {
            let mask = (1_u128 << (low % 128)) - 1;
            let near = bits(*network) & !mask | bits(input.asked.ip()) & mask;
            IpAddr::from(Ipv6Addr::from_bits(near))
        }
        _ => input.asked.ip(),
    };
    let naive = networks.iter().any(|(network, length)| within(asked, *network, *length));
    assert_eq!(rule.contains(asked), naive, "{asked} in {texts:?}");
    assert_eq!(rule.allows(Some(asked)), naive || networks.is_empty());
    assert_eq!(rule.allows(None), networks.is_empty());

    // Alone, an address is a network of its own.
    let alone = NetworkRule::parse("network", &[input.asked.ip().to_string()]).expect("an address");
    assert!(alone.contains(input.asked.ip()));
    assert_eq!(alone.contains(asked), bits(asked) == bits(input.asked.ip()));

    // The runtime's own way of writing a peer down.
    let peer = peer_address(&SocketAddr::new(asked, input.port).to_string());
    assert_eq!(peer.is_none(), asked.to_canonical().is_unspecified());
    assert!(peer.is_none_or(|peer| peer == asked.to_canonical()));
});
