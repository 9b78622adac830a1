//! Routes as a table: method and pattern to whatever names the handler. The most literal pattern wins; nothing is guessed: a
//! trailing slash is another path.

use crate::problem;
use crate::request::{Incoming, Method};
use crate::response::Response;
use keyward_domain::{Code, Error, Result};
use std::str::FromStr;

/// One line of the table. `T` names the handler: an enum of the component.
#[derive(Debug, Clone, Copy)]
pub struct Route<T> {
    method: Method,
    pattern: &'static str,
    handler: T,
}

impl<T> Route<T> {
    /// `GET`, and with it `HEAD`. A `{name}` in the pattern stands for one segment, a `{name...}` at its end for all that are left.
    pub const fn get(pattern: &'static str, handler: T) -> Self {
        Self { method: Method::Get, pattern, handler }
    }

    /// `POST`.
    pub const fn post(pattern: &'static str, handler: T) -> Self {
        Self { method: Method::Post, pattern, handler }
    }

    /// `PATCH`.
    pub const fn patch(pattern: &'static str, handler: T) -> Self {
        Self { method: Method::Patch, pattern, handler }
    }
}

/// The segments that stood where the pattern has names, in order, as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Params<'p>(Vec<&'p str>);

impl Params<'_> {
    /// The text in the place `index` (from 0).
    pub fn text(&self, index: usize) -> &str {
        self.0.get(index).copied().unwrap_or_default()
    }

    /// The id in the place `index` (from 0); `what` names its kind, for the 404.
    ///
    /// # Errors
    /// [`Code::NotFound`] where the segment is no such id: there is no such thing.
    pub fn id<T: FromStr>(&self, index: usize, what: &str) -> Result<T> {
        self.0.get(index).and_then(|text| text.parse().ok()).ok_or_else(|| Error::not_found(what))
    }
}

/// What the table says of a method and a path.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'p, T> {
    /// Run this one.
    Handler(T, Params<'p>),
    /// The path takes the methods named, and this is none of them.
    OtherMethods(String),
    /// No such path.
    Nothing,
}

/// Looks a method and a path up. `HEAD` finds what `GET` finds.
pub fn find<'p, T: Copy>(routes: &[Route<T>], method: Method, path: &'p str) -> Found<'p, T> {
    let wanted = if method == Method::Head { Method::Get } else { method };
    let matching = || routes.iter().filter_map(|route| Some((route, matched(route.pattern, path)?)));
    let Some(fewest) = matching().map(|(_, params)| params.0.len()).min() else { return Found::Nothing };
    let mut allowed = Vec::new();
    for (route, params) in matching().filter(|(_, params)| params.0.len() == fewest) {
        if route.method == wanted {
            return Found::Handler(route.handler, params);
        }
        allowed.push(route.method.as_str());
        if route.method == Method::Get {
            allowed.push(Method::Head.as_str());
        }
    }
    allowed.push(Method::Options.as_str());
    Found::OtherMethods(allowed.join(", "))
}

fn matched<'p>(pattern: &str, path: &'p str) -> Option<Params<'p>> {
    let mut params = Vec::new();
    let (mut wanted, mut left) = (pattern.split('/'), Some(path));
    loop {
        match (wanted.next(), left) {
            (None, None) => return Some(Params(params)),
            (Some(name), Some(rest)) if name.ends_with("...}") && !rest.is_empty() => {
                params.push(rest);
                return Some(Params(params));
            }
            (Some(wanted), Some(rest)) => {
                let (segment, after) =
                    rest.split_once('/').map_or((rest, None), |(s, after)| (s, Some(after)));
                if wanted.starts_with('{') && !segment.is_empty() {
                    params.push(segment);
                } else if wanted != segment {
                    return None;
                }
                left = after;
            }
            _ => return None,
        }
    }
}

/// Answers a request by the table: runs the handler found, tells its error as a problem, answers `HEAD` without a body and
/// `OPTIONS` with what the path takes.
pub async fn serve<'p, T: Copy>(
    routes: &[Route<T>],
    incoming: &'p Incoming,
    run: impl AsyncFnOnce(T, Params<'p>) -> Result<Response>,
) -> Response {
    let told = |error: &Error| problem::response(error, incoming.id(), incoming.presents_credential());
    serve_telling(routes, incoming, run, told).await
}

/// The same with errors told in another way.
pub async fn serve_telling<'p, T: Copy>(
    routes: &[Route<T>],
    incoming: &'p Incoming,
    run: impl AsyncFnOnce(T, Params<'p>) -> Result<Response>,
    told: impl FnOnce(&Error) -> Response,
) -> Response {
    let answer = match find(routes, incoming.method(), incoming.path()) {
        Found::Handler(handler, params) => run(handler, params).await,
        Found::OtherMethods(allow) if incoming.method() == Method::Options => {
            return Response::empty(204).with("allow", allow);
        }
        Found::OtherMethods(allow) => {
            let error = Error::new(Code::MethodNotAllowed, format!("this route takes {allow}"));
            return without_body_for_head(incoming, told(&error).with("allow", allow));
        }
        Found::Nothing => Err(Error::new(Code::NotFound, "there is no such route")),
    };
    without_body_for_head(incoming, answer.unwrap_or_else(|error| told(&error)))
}

fn without_body_for_head(incoming: &Incoming, response: Response) -> Response {
    if incoming.method() == Method::Head { response.without_body() } else { response }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyward_domain::{KeyId, RequestId};

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Op {
        List,
        Create,
        Show,
        Change,
        Lookup,
        Claim,
        Tile,
    }

    const ROUTES: &[Route<Op>] = &[
        Route::get("/v1/keys", Op::List),
        Route::post("/v1/keys", Op::Create),
        Route::get("/v1/keys/{id}", Op::Show),
        Route::patch("/v1/keys/{id}", Op::Change),
        Route::post("/v1/keys/lookup", Op::Lookup),
        Route::post("/v1/keys/{id}/claims", Op::Claim),
        Route::get("/v1/tile/{tile...}", Op::Tile),
    ];

    #[test]
    fn the_most_literal_pattern_wins() {
        let table = [
            (Method::Get, "/v1/keys", Some((Op::List, vec![]))),
            (Method::Head, "/v1/keys", Some((Op::List, vec![]))),
            (Method::Post, "/v1/keys", Some((Op::Create, vec![]))),
            (Method::Get, "/v1/keys/k", Some((Op::Show, vec!["k"]))),
            (Method::Patch, "/v1/keys/k", Some((Op::Change, vec!["k"]))),
            (Method::Post, "/v1/keys/lookup", Some((Op::Lookup, vec![]))),
            (Method::Post, "/v1/keys/k/claims", Some((Op::Claim, vec!["k"]))),
            (Method::Get, "/v1/tile/0/x001/067.p/5", Some((Op::Tile, vec!["0/x001/067.p/5"]))),
            (Method::Get, "/v1/tile/0", Some((Op::Tile, vec!["0"]))),
            (Method::Get, "/v1/tile/", None),
            (Method::Get, "/v1/tile", None),
            (Method::Get, "/v1/keys/", None),
            (Method::Get, "/v1/keys//claims", None),
            (Method::Get, "/v1//keys", None),
            (Method::Get, "/v1/keys/k/claims/", None),
            (Method::Get, "", None),
            (Method::Get, "/", None),
        ];
        for (method, path, expected) in table {
            let expected = match expected {
                Some((op, params)) => Found::Handler(op, Params(params)),
                None => Found::Nothing,
            };
            assert_eq!(find(ROUTES, method, path), expected, "{method:?} {path}");
        }
        let allow = |method, path| match find(ROUTES, method, path) {
            Found::OtherMethods(allow) => allow,
            other => panic!("{other:?}"),
        };
        assert_eq!(allow(Method::Delete, "/v1/keys"), "GET, HEAD, POST, OPTIONS");
        assert_eq!(allow(Method::Get, "/v1/keys/lookup"), "POST, OPTIONS");
        assert_eq!(allow(Method::Options, "/v1/keys/k"), "GET, HEAD, PATCH, OPTIONS");
    }

    #[test]
    fn an_id_of_another_kind_is_not_found() {
        let id = KeyId::from_bytes([3; 16]).to_string();
        let params = Params(vec![&id, "app_x"]);
        assert!(params.id::<KeyId>(0, "key").is_ok());
        assert_eq!(params.id::<KeyId>(1, "key").map_err(|e| e.code), Err(Code::NotFound));
        assert_eq!(params.id::<KeyId>(2, "key").map_err(|e| e.code), Err(Code::NotFound));
    }

    fn answer(method: Method, target: &str) -> Response {
        let incoming = Incoming::from_parts(RequestId::from_bytes([1; 16]), method, target, vec![], vec![]);
        let served = serve(ROUTES, &incoming, async |op, _| match op {
            Op::List => Ok(Response::bytes(200, "text/plain", b"list".to_vec())),
            _ => Err(Error::not_found("key")),
        });
        let mut served = std::pin::pin!(served);
        match served.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
            std::task::Poll::Ready(response) => response,
            std::task::Poll::Pending => panic!("waits"),
        }
    }

    #[test]
    fn answers() {
        assert_eq!(answer(Method::Get, "/v1/keys?x=1").body(), b"list");
        assert_eq!(
            (answer(Method::Head, "/v1/keys").status(), answer(Method::Head, "/v1/keys").body()),
            (200, &b""[..])
        );
        assert_eq!(answer(Method::Get, "/v1/keys/k").status(), 404);
        let options = answer(Method::Options, "/v1/keys");
        assert_eq!((options.status(), options.field("allow")), (204, Some("GET, HEAD, POST, OPTIONS")));
        let put = answer(Method::Put, "/v1/keys");
        assert_eq!((put.status(), put.field("allow")), (405, Some("GET, HEAD, POST, OPTIONS")));
        assert_eq!(answer(Method::Get, "/nowhere").status(), 404);
    }
}
