//! The dashboard as a browser without scripts has it: a cookie, pages, and the forms on them. Nothing is parsed that a test does not need.

use crate::http::{Reply, Request};
use crate::keyward::Keyward;

/// The cookie of a session.
pub const SESSION: &str = "__Host-keyward";
/// The cookie that a form to sign in belongs to.
pub const ENTRY: &str = "__Host-keyward-entry";

/// Somebody at the dashboard.
#[derive(Clone)]
pub struct Visitor<'k> {
    keyward: &'k Keyward,
    cookies: Vec<(String, String)>,
}

/// A form's hidden fields: names and values.
pub type Fields = Vec<(String, String)>;

impl<'k> Visitor<'k> {
    /// Somebody who has never been there.
    pub const fn new(keyward: &'k Keyward) -> Self {
        Self { keyward, cookies: Vec::new() }
    }

    /// Somebody who signed in with this token.
    pub fn signed_in(keyward: &'k Keyward, token: &str) -> Self {
        let mut visitor = Self::new(keyward);
        let page = visitor.get("/dashboard/sign-in").expect(200);
        let reply = visitor.send(&page, "/dashboard/sign-in", &[("key", token)]).expect(303);
        assert_eq!(reply.field("location"), Some("/dashboard"));
        visitor
    }

    /// A cookie that it has.
    pub fn cookie(&self, name: &str) -> Option<String> {
        self.cookies.iter().find(|(have, _)| have == name).map(|(_, value)| value.clone())
    }

    /// Puts a cookie into it.
    pub fn put_cookie(&mut self, name: &str, value: &str) {
        self.cookies.retain(|(have, _)| have != name);
        if !value.is_empty() {
            self.cookies.push((name.to_owned(), value.to_owned()));
        }
    }

    /// Sends a request with its cookies, and keeps those that come back.
    pub fn ask(&mut self, request: Request) -> Reply {
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = if cookies.is_empty() { request } else { request.field("cookie", cookies.join("; ")) };
        let reply = self.keyward.send(request);
        for (_, cookie) in reply.fields.iter().filter(|(name, _)| name == "set-cookie") {
            let (pair, attributes) = cookie.split_once("; ").expect("a cookie has attributes");
            assert!(attributes.starts_with("Path=/; Secure; HttpOnly; SameSite=Strict"), "{attributes}");
            let (name, value) = pair.split_once('=').expect("a name");
            self.put_cookie(name, value);
        }
        reply
    }

    /// Opens a page.
    pub fn get(&mut self, path: &str) -> Reply {
        self.ask(Request::get(path))
    }

    /// Fills in the form on a page that leads to `action`, and sends it as a browser does.
    pub fn send(&mut self, page: &Reply, action: &str, fields: &[(&str, &str)]) -> Reply {
        let mut all = hidden(page, action);
        all.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        self.post(action, &all)
    }

    /// Posts these fields from a page of the dashboard.
    pub fn post(&mut self, action: &str, fields: &Fields) -> Reply {
        self.ask(form(action, fields).field("sec-fetch-site", "same-origin"))
    }
}

/// A form as it is posted.
pub fn form(action: &str, fields: &Fields) -> Request {
    let pairs: Vec<String> =
        fields.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
    Request::new("POST", action)
        .field("content-type", "application/x-www-form-urlencoded")
        .body(pairs.join("&"))
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

/// The hidden fields of the form that leads to `action`.
///
/// # Panics
/// Where the page has none.
pub fn hidden(page: &Reply, action: &str) -> Fields {
    let html = page.text();
    let form = html
        .split_once(&format!("action=\"{action}\">"))
        .unwrap_or_else(|| panic!("no form to {action}: {html}"))
        .1;
    let form = form.split("</form>").next().unwrap_or_default();
    let inputs = form.split("<input type=\"hidden\" name=\"").skip(1);
    inputs
        .map(|input| {
            let (name, rest) = input.split_once("\" value=\"").expect("a value");
            (name.to_owned(), rest.split('"').next().unwrap_or_default().to_owned())
        })
        .collect()
}
