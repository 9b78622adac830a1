//! Networks that no component is connected to, whatever it may reach by name: `[outbound_networking] block_networks` of the runtime
//! configuration, as Spin has it. Looked at after a name is resolved, on the very addresses that are then connected to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use toml::{Table, Value};

/// What stands for every network that is not reached over the internet.
const PRIVATE: &str = "private";

/// Networks that are blocked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockedNetworks {
    networks: Vec<IpNet>,
    private: bool,
}

impl BlockedNetworks {
    /// All that are not reached over the internet.
    pub const fn private() -> Self {
        Self { networks: Vec::new(), private: true }
    }

    /// Reads the table `[outbound_networking]`.
    pub(crate) fn parse(mut table: Table) -> Result<Self, String> {
        let mut blocked = Self::default();
        let entries = match table.remove("block_networks") {
            None => Vec::new(),
            Some(Value::Array(entries)) => entries,
            Some(_) => return Err("`[outbound_networking] block_networks` must be a list".into()),
        };
        for entry in entries {
            match entry.as_str() {
                Some(PRIVATE) => blocked.private = true,
                Some(text) => match text.parse::<IpNet>() {
                    Ok(network) => blocked.networks.push(network.trunc()),
                    Err(_) => {
                        return Err(format!(
                            "`[outbound_networking] block_networks` has `{text}`: expected a network such as \"10.0.0.0/8\", or \"private\""
                        ));
                    }
                },
                None => return Err("`[outbound_networking] block_networks` must hold strings".into()),
            }
        }
        match table.keys().next() {
            None => Ok(blocked),
            Some(unknown) => {
                Err(format!("[outbound_networking] has `{unknown}`; this host knows `block_networks` alone"))
            }
        }
    }

    /// What either blocks.
    #[must_use]
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.networks.extend(other.networks);
        self.private |= other.private;
        self
    }

    /// The addresses that may be connected to.
    pub(crate) fn allowed(&self, addresses: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
        addresses.filter(|address| !self.is_blocked(address.ip())).collect()
    }

    fn is_blocked(&self, address: IpAddr) -> bool {
        let is_private = self.private && !is_global(address);
        if is_private || self.networks.iter().any(|network| network.contains(&address)) {
            return true;
        }
        // An IPv4 address in another dress is the same place.
        match address {
            IpAddr::V6(v6) => v6.to_ipv4().is_some_and(|v4| self.is_blocked(v4.into())),
            IpAddr::V4(_) => false,
        }
    }
}

/// Whether an address is reached over the internet, by IANA's registries of special-purpose addresses.
fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_global_v4(v4),
        IpAddr::V6(v6) => is_global_v6(v6),
    }
}

fn is_global_v4(address: Ipv4Addr) -> bool {
    !matches!(
        address.octets(),
        [0 | 10 | 127 | 224.., ..]
            | [100, 64..=127, ..]
            | [169, 254, ..]
            | [172, 16..=31, ..]
            | [192, 0, 0 | 2, _]
            | [192, 88, 99, _]
            | [192, 168, ..]
            | [198, 18 | 19, ..]
            | [198, 51, 100, _]
            | [203, 0, 113, _]
    )
}

fn is_global_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        // Mapped, and through a translator: as good as the address inside.
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            is_global_v4(Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low)))
        }
        // 6to4, Teredo and the like, documentation.
        [0x2002 | 0x3fff, ..] | [0x2001, 0..=0x1ff | 0xdb8, ..] => false,
        [0x2000..=0x3fff, ..] => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<BlockedNetworks, String> {
        BlockedNetworks::parse(text.parse().unwrap())
    }

    #[test]
    fn private_is_what_the_internet_does_not_reach() {
        let blocked = parse("block_networks = [\"private\"]").unwrap();
        assert_eq!(blocked, BlockedNetworks::private());
        for address in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.31.0.1",
            "192.168.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:10.0.0.1",
            "fe80::1",
            "fc00::1",
            "ff02::1",
            "64:ff9b::a00:1",
            "2002:a00:1::",
            "2001:db8::1",
        ] {
            assert!(blocked.is_blocked(address.parse().unwrap()), "{address}");
        }
        for address in ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8"] {
            assert!(!blocked.is_blocked(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn networks_block_themselves_alone() {
        let blocked = parse("block_networks = [\"198.51.100.7/24\", \"2606:4700::/32\"]").unwrap();
        let given = ["198.51.100.1:80", "[2606:4700::1]:80", "127.0.0.1:80", "[::ffff:198.51.100.9]:80"];
        let allowed = blocked.allowed(given.iter().map(|text| text.parse().unwrap()));
        assert_eq!(allowed, ["127.0.0.1:80".parse().unwrap()]);
        let nothing = BlockedNetworks::default();
        assert_eq!(nothing.allowed(given.iter().map(|text| text.parse().unwrap())).len(), 4);
    }

    #[test]
    fn faulty_tables_are_refused() {
        for (text, part) in [
            ("block_networks = \"private\"", "must be a list"),
            ("block_networks = [\"public\"]", "has `public`"),
            ("block_networks = [7]", "must hold strings"),
            ("max_total_connections = 7", "has `max_total_connections`"),
        ] {
            assert!(parse(text).unwrap_err().contains(part), "{text}");
        }
    }
}
