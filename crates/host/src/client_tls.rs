//! Whom components trust where they call out over TLS, and who they say they are: `[[client_tls]]` of the runtime configuration, as
//! Spin has it. Where it says nothing, a server must have a certificate that the public web's authorities vouch for.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use http::uri::Authority;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use toml::{Table, Value};

use crate::pem;

/// What each component uses for which host.
#[derive(Default)]
pub(crate) struct ClientTls {
    entries: Vec<Entry>,
    otherwise: OnceLock<Arc<ClientConfig>>,
}

struct Entry {
    components: Vec<String>,
    hosts: Vec<Authority>,
    config: Arc<ClientConfig>,
}

impl ClientTls {
    /// Reads the tables `[[client_tls]]`, whose paths are relative to `base`.
    pub(crate) fn parse(tables: Value, base: &Path) -> Result<Self, String> {
        let tables = match tables {
            Value::Array(tables) => tables,
            _ => return Err("`client_tls` must be a list of tables, as in `[[client_tls]]`".into()),
        };
        let entries = tables.into_iter().map(|table| match table {
            Value::Table(table) => Entry::parse(table, base),
            _ => Err("`client_tls` must be a list of tables, as in `[[client_tls]]`".into()),
        });
        Ok(Self { entries: entries.collect::<Result<_, _>>()?, otherwise: OnceLock::new() })
    }

    /// What `component` uses for `host` on `port`. A host that is configured without a port is meant on every one.
    pub(crate) fn config(
        &self,
        component: &str,
        host: &str,
        port: u16,
    ) -> Result<Arc<ClientConfig>, rustls::Error> {
        let is_meant = |authority: &Authority| {
            authority.host().trim_matches(['[', ']']).eq_ignore_ascii_case(host)
                && authority.port_u16().is_none_or(|configured| configured == port)
        };
        let found = self.entries.iter().find(|entry| {
            entry.components.iter().any(|id| id == component) && entry.hosts.iter().any(is_meant)
        });
        if let Some(entry) = found {
            return Ok(entry.config.clone());
        }
        if let Some(config) = self.otherwise.get() {
            return Ok(config.clone());
        }
        let config = Arc::new(builder()?.with_root_certificates(public_roots()).with_no_client_auth());
        Ok(self.otherwise.get_or_init(|| config).clone())
    }
}

impl Entry {
    fn parse(mut table: Table, base: &Path) -> Result<Self, String> {
        let components = strings(&mut table, "component_ids")?;
        let hosts = strings(&mut table, "hosts")?;
        let authority = |host: &String| {
            host.parse().map_err(|_| {
                format!("`[[client_tls]] hosts` has `{host}`: expected a host such as \"hooks.internal\" or \"hooks.internal:8443\"")
            })
        };
        let hosts = hosts.iter().map(authority).collect::<Result<Vec<Authority>, String>>()?;
        let mut path = |name: &str| match table.remove(name) {
            None => Ok(None),
            Some(Value::String(path)) => Ok(Some(base.join(path))),
            Some(_) => Err(format!("`[[client_tls]] {name}` must be a string: the path of a PEM file")),
        };
        let (ca, certificate, key) =
            (path("ca_roots_file")?, path("client_cert_file")?, path("client_private_key_file")?);
        // Whoever names authorities means these alone, unless they say otherwise.
        let is_public = match table.remove("ca_use_webpki_roots") {
            None => ca.is_none(),
            Some(Value::Boolean(is_public)) => is_public,
            Some(_) => return Err("`[[client_tls]] ca_use_webpki_roots` must be true or false".into()),
        };
        if let Some(unknown) = table.keys().next() {
            return Err(format!("[[client_tls]] has `{unknown}`, which this host does not know"));
        }
        let mut roots = if is_public { public_roots() } else { RootCertStore::empty() };
        if let Some(path) = &ca {
            for root in certificates(path)? {
                roots.add(root).map_err(|e| {
                    format!("`{}` has a certificate that cannot vouch for others: {e}", path.display())
                })?;
            }
        }
        if roots.is_empty() {
            return Err(
                "[[client_tls]] trusts nobody: it needs `ca_roots_file`, or `ca_use_webpki_roots = true`"
                    .into(),
            );
        }
        let builder = builder().map_err(|e| e.to_string())?.with_root_certificates(roots);
        let config = match (certificate, key) {
            (None, None) => builder.with_no_client_auth(),
            (Some(certificate), Some(key)) => {
                let private = pem::private_key(&key).map_err(|e| format!("`{}`: {e}", key.display()))?;
                builder
                    .with_client_auth_cert(certificates(&certificate)?, private)
                    .map_err(|e| format!("`{}` and its key do not serve: {e}", certificate.display()))?
            }
            _ => {
                return Err(
                    "[[client_tls]] needs `client_cert_file` and `client_private_key_file`, or neither"
                        .into(),
                );
            }
        };
        Ok(Self { components, hosts, config: Arc::new(config) })
    }
}

fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, rustls::Error> {
    // Named, so that it does not hang on which providers other crates bring along.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()
}

fn public_roots() -> RootCertStore {
    RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.into() }
}

fn strings(table: &mut Table, name: &str) -> Result<Vec<String>, String> {
    let expected = || format!("`[[client_tls]] {name}` must be a list of strings, with one at least");
    let Some(Value::Array(entries)) = table.remove(name) else { return Err(expected()) };
    let strings: Option<Vec<String>> =
        entries.iter().map(|entry| entry.as_str().map(str::to_owned)).collect();
    strings.filter(|strings| !strings.is_empty()).ok_or_else(expected)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    pem::certificates(path).map_err(|e| format!("`{}`: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, base: &Path) -> Result<ClientTls, String> {
        let mut table: Table = text.parse().unwrap();
        ClientTls::parse(table.remove("client_tls").unwrap(), base)
    }

    #[test]
    fn faults_are_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("empty.pem"), "").unwrap();
        let entry = |more: &str| {
            format!("[[client_tls]]\ncomponent_ids = [\"delivery\"]\nhosts = [\"hooks.internal\"]\n{more}")
        };
        for (text, part) in [
            ("client_tls = 1".to_owned(), "`[[client_tls]]`"),
            ("[[client_tls]]\nhosts = [\"a\"]".to_owned(), "component_ids` must be a list of strings"),
            ("[[client_tls]]\ncomponent_ids = [\"a\"]\nhosts = []".to_owned(), "with one at least"),
            (entry("").replace("hooks.internal", "https://x/"), "expected a host such as"),
            (entry("ca_roots_file = 1"), "the path of a PEM file"),
            (entry("ca_roots_file = \"absent.pem\""), "absent.pem`: "),
            (entry("ca_roots_file = \"empty.pem\""), "empty.pem`: no certificate is in it"),
            (entry("ca_use_webpki_roots = false"), "trusts nobody"),
            (entry("client_cert_file = \"empty.pem\""), "or neither"),
            (entry("verify = false"), "has `verify`"),
        ] {
            let seen = parse(&text, dir.path()).map(|_| ()).unwrap_err();
            assert!(seen.contains(part), "{text}: {seen}");
        }
    }

    #[test]
    fn an_entry_is_for_its_components_and_hosts_alone() {
        let tls = parse(
            "[[client_tls]]\ncomponent_ids = [\"delivery\"]\nhosts = [\"hooks.internal\", \"[::1]:8443\"]",
            Path::new("/"),
        )
        .unwrap();
        let is_configured = |component: &str, host: &str, port: u16| {
            Arc::ptr_eq(&tls.config(component, host, port).unwrap(), &tls.entries[0].config)
        };
        for (component, host, port, expected) in [
            ("delivery", "hooks.internal", 443, true),
            ("delivery", "Hooks.Internal", 9000, true),
            ("delivery", "::1", 8443, true),
            ("delivery", "::1", 443, false),
            ("delivery", "other.hooks.internal", 443, false),
            ("audit", "hooks.internal", 443, false),
        ] {
            assert_eq!(is_configured(component, host, port), expected, "{component} {host}:{port}");
        }
    }
}
