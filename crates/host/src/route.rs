//! Which HTTP trigger a path belongs to, by Spin's rules (the matcher is the one Spin uses), and the `spin-*`
//! headers that tell the guest so. Knows paths and headers only, no component.

use std::net::SocketAddr;

use http::{HeaderMap, HeaderName, HeaderValue};

/// Routes of an application; each leads to a place in its list of triggers.
pub(crate) struct Router {
    routes: routefinder::Router<Route>,
}

#[derive(Debug)]
struct Route {
    trigger: usize,
    /// As written in the manifest.
    raw: String,
    /// With a leading slash and without a trailing one.
    based: String,
}

/// A path's match.
#[derive(Debug, PartialEq)]
pub(crate) struct RouteMatch {
    /// Place in the list of triggers.
    pub(crate) trigger: usize,
    raw: String,
    based: String,
    trailing: String,
    named: Vec<(String, String)>,
}

/// Paths below it belong to the host.
pub(crate) const WELL_KNOWN: &str = "/.well-known/spin/";

impl Router {
    /// Builds the router of `(place, route)`; two equal routes are refused (Spin keeps the last with a warning).
    pub(crate) fn new<'a>(routes: impl IntoIterator<Item = (usize, &'a str)>) -> Result<Self, String> {
        let mut router = routefinder::Router::new();
        let mut seen = std::collections::HashSet::new();
        for (trigger, raw) in routes {
            let based = if raw.starts_with('/') { raw.to_owned() } else { format!("/{raw}") };
            let based = based.strip_suffix('/').map_or(based.clone(), str::to_owned);
            if !seen.insert(based.clone()) {
                return Err(format!("the route `{raw}` is there twice; each path can have one answer"));
            }
            if based.starts_with(WELL_KNOWN) {
                return Err(format!("the route `{raw}` is below `{WELL_KNOWN}`, which belongs to the host"));
            }
            let spec = based.strip_suffix("/...").map_or(based.clone(), |prefix| format!("{prefix}/*"));
            router
                .add(spec, Route { trigger, raw: raw.to_owned(), based })
                .map_err(|e| format!("the route `{raw}`: {e}"))?;
        }
        Ok(Self { routes: router })
    }

    pub(crate) fn find(&self, path: &str) -> Option<RouteMatch> {
        let found = self.routes.best_match(path)?;
        let captures = found.captures();
        let route: &Route = found.handler();
        // Spin keeps a trailing slash in what `...` caught; the matcher drops it.
        let trailing = match captures.wildcard() {
            None => String::new(),
            Some("") if path.ends_with('/') => "/".to_owned(),
            Some("") => String::new(),
            Some(rest) if path.ends_with('/') => format!("/{rest}/"),
            Some(rest) => format!("/{rest}"),
        };
        Some(RouteMatch {
            trigger: route.trigger,
            raw: route.raw.clone(),
            based: route.based.clone(),
            trailing,
            named: captures.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        })
    }
}

impl RouteMatch {
    /// The route as the manifest has it.
    pub(crate) fn route(&self) -> &str {
        &self.raw
    }

    /// The match of a request chained to a component by its name: as though its route were `/...`.
    pub(crate) fn chained(path: &str) -> Self {
        Self {
            trigger: usize::MAX,
            raw: "/...".into(),
            based: "/...".into(),
            trailing: path.to_owned(),
            named: Vec::new(),
        }
    }

    /// Appends Spin's headers, after whatever the caller sent under the same names.
    pub(crate) fn append_headers(&self, headers: &mut HeaderMap, full_url: &str, client: SocketAddr) {
        let mut append = |name: HeaderName, value: &str| {
            // What a header cannot hold is left out, as Spin leaves it out.
            if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
                let _ = headers.try_append(name, value);
            }
        };
        append(HeaderName::from_static("spin-path-info"), &self.trailing);
        append(HeaderName::from_static("spin-full-url"), full_url);
        append(HeaderName::from_static("spin-matched-route"), &self.based);
        append(HeaderName::from_static("spin-base-path"), "/");
        append(HeaderName::from_static("spin-raw-component-route"), &self.raw);
        append(
            HeaderName::from_static("spin-component-route"),
            self.raw.strip_suffix("/...").unwrap_or(&self.raw),
        );
        append(HeaderName::from_static("spin-client-addr"), &client.to_string());
        for (name, value) in &self.named {
            let name = format!("spin-path-match-{}", name.replace('_', "-").to_ascii_lowercase());
            if let Ok(name) = HeaderName::try_from(name) {
                append(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_route_wins() {
        let routes =
            ["/", "/a", "/a/...", "/a/:id", "/a/:id/b", "/a/b/...", "/u/:user_id/...", "noslash", "/end/"];
        let router = Router::new(routes.iter().copied().enumerate()).unwrap();
        for (path, route, trailing) in [
            ("/", "/", ""),
            ("/a", "/a", ""),
            ("/a/1", "/a/:id", ""),
            ("/a/1/b", "/a/:id/b", ""),
            ("/a/1/c", "/a/...", "/1/c"),
            ("/a/1/c/", "/a/...", "/1/c/"),
            ("/a/b", "/a/b/...", ""),
            ("/a/b/", "/a/b/...", "/"),
            ("/a/b/c", "/a/b/...", "/c"),
            ("/u/7/x", "/u/:user_id/...", "/x"),
            ("/noslash", "noslash", ""),
            ("/end", "/end/", ""),
        ] {
            let found = router.find(path).unwrap_or_else(|| panic!("{path} is not found"));
            assert_eq!((found.raw.as_str(), found.trailing.as_str()), (route, trailing), "{path}");
        }
        for path in ["/b", "/ab", "/u", "/x/y"] {
            assert_eq!(router.find(path), None, "{path}");
        }
    }

    #[test]
    fn headers_come_after_the_callers() {
        let router = Router::new([(0, "/u/:user_id/...")]).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("spin-client-addr", HeaderValue::from_static("6.6.6.6:6"));
        let found = router.find("/u/7/x").unwrap();
        found.append_headers(&mut headers, "http://h/u/7/x?q", "1.2.3.4:5".parse().unwrap());
        let all = |name: &str| {
            headers.get_all(name).iter().map(|v| v.to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(all("spin-client-addr"), ["6.6.6.6:6", "1.2.3.4:5"]);
        assert_eq!(all("spin-path-info"), ["/x"]);
        assert_eq!(all("spin-full-url"), ["http://h/u/7/x?q"]);
        assert_eq!(all("spin-matched-route"), ["/u/:user_id/..."]);
        assert_eq!(all("spin-raw-component-route"), ["/u/:user_id/..."]);
        assert_eq!(all("spin-component-route"), ["/u/:user_id"]);
        assert_eq!(all("spin-base-path"), ["/"]);
        assert_eq!(all("spin-path-match-user-id"), ["7"]);
    }
}
