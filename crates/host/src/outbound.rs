//! Where a component may send requests: `allowed_outbound_hosts`. Decides on a URL's text alone; it opens no
//! connection and resolves no name.

use std::net::IpAddr;
use std::ops::Range;

use http::Uri;
use ipnet::IpNet;

/// What a component may reach.
#[derive(Clone, Debug, Default)]
pub(crate) struct AllowedHosts(Vec<Rule>);

#[derive(Clone, Debug)]
struct Rule {
    /// None: any.
    scheme: Option<String>,
    host: HostRule,
    ports: PortRule,
}

#[derive(Clone, Debug)]
enum HostRule {
    Any,
    ToSelf,
    /// A suffix with its leading dot.
    Subdomains(String),
    Exact(String),
    Net(IpNet),
}

#[derive(Clone, Debug)]
enum PortRule {
    Any,
    One(u16),
    /// The end is not in it, as in Spin.
    Range(Range<u16>),
}

const RIGHT: &str = "the form is `scheme://host:port`, as in \"https://api.example.com\", \"http://*.example.com:8080\" or \"http://self\"";

impl AllowedHosts {
    /// Parses entries whose templates are already filled; an empty entry (an optional variable) allows nothing.
    pub(crate) fn parse<'a>(entries: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut rules = Vec::new();
        for entry in entries {
            if !matches!(entry, "" | "http://" | "https://") {
                rules.push(
                    Rule::parse(entry).map_err(|e| format!("`allowed_outbound_hosts` has `{entry}`: {e}"))?,
                );
            }
        }
        Ok(Self(rules))
    }

    /// Whether a request to `uri`, which has a scheme and an authority, is allowed.
    pub(crate) fn allow(&self, uri: &Uri) -> bool {
        let (Some(scheme), Some(host)) = (uri.scheme_str(), uri.host()) else { return false };
        let Some(port) = uri.port_u16().or_else(|| well_known_port(scheme)) else { return false };
        let host = normalise(host);
        self.0
            .iter()
            .any(|rule| rule.scheme_allows(scheme) && rule.ports.allow(port) && rule.host.allow(&host))
    }

    /// Whether requests to the application itself are allowed.
    pub(crate) fn allow_self(&self) -> bool {
        self.0.iter().any(|rule| {
            matches!(rule.host, HostRule::Any | HostRule::ToSelf)
                && (rule.scheme_allows("http") || rule.scheme_allows("https"))
        })
    }
}

impl Rule {
    fn parse(entry: &str) -> Result<Self, String> {
        let (scheme, rest) =
            entry.trim().split_once("://").ok_or_else(|| format!("there is no scheme; {RIGHT}"))?;
        if scheme != "*" && (scheme.is_empty() || !scheme.chars().all(|c| c.is_ascii_alphabetic())) {
            return Err(format!("`{scheme}` is no scheme; {RIGHT}"));
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        // A network's slash and an IPv6 address's colons are no path and no port.
        let (host, port) = if rest.parse::<IpNet>().is_ok() {
            (rest, "")
        } else if let Some((host, port)) = rest
            .rsplit_once(':')
            .filter(|(host, _)| !host.contains(':') || host.ends_with(']') || host.contains('/'))
        {
            (host, port)
        } else {
            (rest, "")
        };
        let host = HostRule::parse(host)?;
        let ports = match (port, scheme) {
            ("", "*") => return Err(format!("a port is needed where the scheme is `*`; {RIGHT}")),
            ("", _) => PortRule::One(
                well_known_port(scheme)
                    .ok_or_else(|| format!("`{scheme}` has no usual port: name one; {RIGHT}"))?,
            ),
            ("*", _) => PortRule::Any,
            _ => PortRule::parse(port)?,
        };
        Ok(Self { scheme: (scheme != "*").then(|| scheme.to_ascii_lowercase()), host, ports })
    }

    fn scheme_allows(&self, scheme: &str) -> bool {
        self.scheme.as_deref().is_none_or(|own| own.eq_ignore_ascii_case(scheme))
    }
}

impl HostRule {
    fn parse(host: &str) -> Result<Self, String> {
        match host {
            "*" => return Ok(Self::Any),
            "self" | "self.alt" => return Ok(Self::ToSelf),
            "" => return Err(format!("there is no host; {RIGHT}")),
            _ => {}
        }
        if let Ok(net) = host.parse::<IpNet>() {
            return Ok(Self::Net(net.trunc()));
        }
        if host.contains('/') {
            return Err("a path cannot be allowed, only a host".into());
        }
        if let Some(suffix) = host.strip_prefix("*.") {
            if suffix.contains('*') || suffix.parse::<IpAddr>().is_ok() || suffix.is_empty() {
                return Err("`*.` stands before the name of a domain, once".into());
            }
            return Ok(Self::Subdomains(format!(".{}", normalise(suffix))));
        }
        if host.contains(['*', '{', '}']) {
            return Err("`*` stands for the whole host, or before a domain as in `*.example.com`".into());
        }
        Ok(Self::Exact(normalise(host)))
    }

    fn allow(&self, host: &str) -> bool {
        match self {
            Self::Any => true,
            Self::ToSelf => false,
            Self::Subdomains(suffix) => host.parse::<IpAddr>().is_err() && host.ends_with(suffix.as_str()),
            Self::Exact(own) => own == host,
            Self::Net(net) => host.parse::<IpAddr>().is_ok_and(|ip| net.contains(&ip)),
        }
    }
}

impl PortRule {
    fn parse(port: &str) -> Result<Self, String> {
        let number = |text: &str| {
            text.parse::<u16>().map_err(|_| format!("`{port}` is no port, range of ports (`80..90`) or `*`"))
        };
        match port.split_once("..") {
            Some((start, end)) => Ok(Self::Range(number(start)?..number(end)?)),
            None => Ok(Self::One(number(port)?)),
        }
    }

    fn allow(&self, port: u16) -> bool {
        match self {
            Self::Any => true,
            Self::One(own) => *own == port,
            Self::Range(range) => range.contains(&port),
        }
    }
}

/// Lower case, no brackets around IPv6, addresses in their shortest form, no dot at the end.
fn normalise(host: &str) -> String {
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let host = host.strip_suffix('.').unwrap_or(host);
    host.parse::<IpAddr>().map_or_else(|_| host.to_ascii_lowercase(), |ip| ip.to_string())
}

fn well_known_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        "redis" => Some(6379),
        "postgres" => Some(5432),
        "mysql" => Some(3306),
        "mqtt" => Some(1883),
        _ => None,
    }
}

/// The component that `http://ID.spin.internal` names, if the host is of that form.
pub(crate) fn chained_component(uri: &Uri) -> Option<&str> {
    uri.host()?.strip_suffix(".spin.internal")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_rules() {
        for (rule, allowed, denied) in [
            ("https://example.com", "https://example.com/a", "http://example.com/"),
            ("https://example.com", "https://EXAMPLE.com:443/", "https://example.com:444/"),
            ("https://example.com", "https://example.com./", "https://example.com.evil.org/"),
            ("https://*.example.com", "https://a.b.example.com/", "https://example.com/"),
            ("https://*.example.com", "https://a.example.com/", "https://aexample.com/"),
            ("*://example.com:*", "http://example.com:8080/", "http://example.org:8080/"),
            ("http://*:80..90", "http://any.org:89/", "http://any.org:90/"),
            ("http://127.0.0.1:3000", "http://127.0.0.1:3000/", "http://localhost:3000/"),
            ("http://10.0.0.0/8:3000", "http://10.1.2.3:3000/", "http://11.1.2.3:3000/"),
            ("http://[::1]:3000", "http://[0:0::1]:3000/", "http://[::2]:3000/"),
            ("http://*.spin.internal", "http://a.spin.internal/", "http://a.spin.internal.org/"),
            ("http://a.spin.internal", "http://a.spin.internal/", "http://b.spin.internal/"),
            ("http://self", "http://self.invalid/", "http://self/"),
        ] {
            let hosts = AllowedHosts::parse([rule]).unwrap();
            if rule != "http://self" {
                assert!(hosts.allow(&allowed.parse().unwrap()), "{rule} should allow {allowed}");
            }
            assert!(!hosts.allow(&denied.parse().unwrap()), "{rule} should deny {denied}");
        }
        assert!(AllowedHosts::parse(["http://self"]).unwrap().allow_self());
        assert!(!AllowedHosts::parse(["http://example.com"]).unwrap().allow_self());
        assert!(AllowedHosts::parse(["", "https://"]).unwrap().0.is_empty());
    }

    #[test]
    fn faulty_rules_are_refused() {
        for rule in [
            "*",
            "example.com",
            "https://",
            "http://a*b",
            "http://a/b",
            "*://a",
            "http://a:b",
            "h1://a:1",
            "foo://a",
        ] {
            let parsed = Rule::parse(rule);
            assert!(parsed.is_err(), "{rule}: {parsed:?}");
        }
    }
}
