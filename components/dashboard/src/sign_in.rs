//! Signing in: a key of `keyward` for a session. The key is looked at once and kept nowhere.

use crate::page;
use crate::parts;
use crate::visit::{FORM_TOKEN, foreign, posted, set_cookie, with_session};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use keyward_control::Plane;
use keyward_domain::event::{Action, Target};
use keyward_domain::{Code, Error, Result};
use keyward_guest::{Form, Incoming, Method, Response};
use maud::html;

/// The cookie that a form to sign in belongs to, so that no other site can sign a visitor in with a key of its own.
const ENTRY: &str = "__Host-keyward-entry";
const PATH: &str = "/dashboard/sign-in";

/// The page to sign in.
pub(crate) fn page(plane: &Plane, incoming: &Incoming) -> Result<Response> {
    let left = incoming.query()?.one("left")?.is_some();
    let told = left.then_some("You have signed out. The session is over everywhere.");
    Ok(form(plane, incoming, 200, &Told { told, ..Told::going_to(way_back(incoming)) }))
}

/// What the page to sign in tells, and where it leads.
pub(crate) struct Told<'t> {
    /// What happened.
    pub(crate) told: Option<&'t str>,
    /// Why.
    pub(crate) detail: Option<&'t str>,
    /// Where whoever signs in goes on.
    pub(crate) to: &'t str,
}

impl<'t> Told<'t> {
    pub(crate) const fn going_to(to: &'t str) -> Self {
        Self { told: None, detail: None, to }
    }
}

/// The form to sign in, with what is to be told before it.
pub(crate) fn form(plane: &Plane, incoming: &Incoming, status: u16, told: &Told<'_>) -> Response {
    let Told { told, detail, to } = told;
    let known = incoming.cookie(ENTRY).filter(|text| entry(text).is_some());
    let fresh = known.is_none().then(|| plane.random_text());
    let entry_text = known.or(fresh.as_deref()).unwrap_or_default();
    let token = plane.form_token(entry_text.as_bytes());
    // Signed out in another tab, say: the browser has no session to tell of any more.
    let is_lost = incoming.method() == Method::Post && incoming.path() != PATH;
    let told = told.or(is_lost.then_some("You are not signed in any more."));
    let body = html! {
        @if told.is_some() || detail.is_some() {
            div class="problem" role="alert" {
                @if let Some(told) = told { p { (told) } }
                @if let Some(detail) = detail { p { (parts::name(&page::sentence(detail))) } }
                @if is_lost { p { "Nothing was changed." } }
            }
        }
        form method="post" action=(PATH) {
            input type="hidden" name=(FORM_TOKEN) value=(token);
            input type="hidden" name="to" value=(to);
            label for="key" { "Key of the application " code { "keyward" } }
            input id="key" name="key" type="password" required autocomplete="current-password" spellcheck="false"
                autocapitalize="none" autofocus aria-describedby="key-hint";
            p class="hint" id="key-hint" {
                "It is looked at once and stored nowhere. The session ends after 15 minutes without activity, after 8 hours, when you sign out, \
                 or with the key."
            }
            button { "Sign in" }
        }
        @if incoming.comes_from_elsewhere() {
            p class="soft" { "You came by a link from another site, which browsers follow without your session. "
                a href=(to) { "Open this page with it" } "." }
        }
    };
    let response = page::alone(status, "Sign in", &body);
    let response = match status {
        401 => response.with("www-authenticate", "Bearer realm=\"keyward\""),
        _ => response,
    };
    match fresh {
        Some(fresh) => response.with("set-cookie", set_cookie(ENTRY, &fresh)),
        None => response,
    }
}

/// Lets somebody in.
pub(crate) async fn sign_in(plane: &Plane, incoming: &Incoming) -> Result<Response> {
    let form = posted(incoming).await?;
    let entry_text = incoming.cookie(ENTRY).filter(|text| entry(text).is_some());
    if !entry_text.is_some_and(|text| plane.is_form_token(text.as_bytes(), form.text(FORM_TOKEN))) {
        return Err(foreign());
    }
    match open(plane, incoming, &form).await {
        Ok(sealed) => Ok(with_session(Response::see_other(place(form.text("to"))), &sealed)),
        Err(error) if matches!(error.code, Code::Unauthenticated | Code::TooManyAttempts) => {
            let told = Told {
                told: Some("This key does not open the dashboard."),
                detail: Some(&error.detail),
                ..Told::going_to(place(form.text("to")))
            };
            let response = self::form(plane, incoming, error.code.status(), &told);
            Ok(match error.retry_after_s {
                Some(seconds) => response.with("retry-after", seconds.to_string()),
                None => response,
            })
        }
        Err(error) => Err(error),
    }
}

async fn open(plane: &Plane, incoming: &Incoming, form: &Form) -> Result<String> {
    let token = form
        .secret("key")
        .ok_or_else(|| Error::new(Code::Unauthenticated, "a key of the application `keyward` is needed"))?;
    let admitted = plane.admit_by(incoming, &token).await?;
    let (key, version) = (admitted.administrator().key().id, admitted.administrator().version());
    let session = admitted
        .change(Action::SessionOpened, Target::default(), None, async |service, attempt| {
            service.open_session(attempt, key, version).await
        })
        .await?;
    plane.seal_session(&session)
}

/// What an entry's cookie holds: 32 bytes.
fn entry(text: &str) -> Option<[u8; 32]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

/// Where whoever signs in goes on: the page that was asked for.
pub(crate) fn way_back(incoming: &Incoming) -> &str {
    match incoming.method() {
        Method::Get | Method::Head => place(incoming.target()),
        _ => place(""),
    }
}

/// A place of the dashboard, and of nowhere else.
fn place(text: &str) -> &str {
    const OVERVIEW: &str = "/dashboard";
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/_-.~%?=&:".contains(&b);
    let is_ours =
        text.strip_prefix(OVERVIEW).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?']));
    if is_ours && !text.starts_with(PATH) && text.bytes().all(plain) { text } else { OVERVIEW }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_led_out_of_the_dashboard() {
        for ours in ["/dashboard", "/dashboard/keys/key_1?cursor=a.b", "/dashboard?x=1"] {
            assert_eq!(place(ours), ours);
        }
        for other in [
            "",
            "/",
            "//evil.example",
            "/dashboardx",
            "/dashboard.evil",
            "https://evil.example/dashboard",
            "/dashboard/\r\nx: y",
            "/dashboard/sign-in?left=1",
        ] {
            assert_eq!(place(other), "/dashboard", "{other}");
        }
    }

    #[test]
    fn an_entry_has_its_length() {
        assert!(entry(&URL_SAFE_NO_PAD.encode([1; 32])).is_some());
        assert!(entry("").is_none() && entry("AAAA").is_none() && entry("!").is_none());
    }
}
