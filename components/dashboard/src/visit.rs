//! One request of somebody who is signed in: who they are, what they may see, what they posted. Whoever is not signed in gets no further;
//! a form that another site posts gets no further either.

use crate::page;
use keyward_control::session::NoSession;
use keyward_control::{Admitted, Plane, PlaneService};
use keyward_crypto::SecretText;
use keyward_domain::event::{Action, Target};
use keyward_domain::ports::Clock;
use keyward_domain::scope::Scope;
use keyward_domain::session::Session;
use keyward_domain::{ApplicationId, Code, Error, Result, Timestamp};
use keyward_guest::{Form, Incoming, Method, Response};
use keyward_service::{Attempt, CredentialView, Page as ListPage};
use maud::{Markup, html};

/// The cookie that carries a session. A browser takes a cookie of this prefix from this very host alone, and sends it nowhere else
/// (RFC 6265bis section 4.1.3.2).
const COOKIE: &str = "__Host-keyward";
/// The field of a form that repeats its token.
pub(crate) const FORM_TOKEN: &str = "form";
/// The field of a form by which a second press of its button is recognised.
const ONCE: &str = "once";

/// One request of somebody who is signed in.
pub(crate) struct Visit<'r> {
    pub(crate) plane: &'r Plane,
    pub(crate) incoming: &'r Incoming,
    pub(crate) session: Session,
    pub(crate) now: Timestamp,
    admitted: Admitted<'r>,
    form: Form,
}

/// The value of a cookie that browsers send to us alone, hide from scripts, and forget when they are closed.
pub(crate) fn set_cookie(name: &str, value: &str) -> String {
    format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite=Strict")
}

/// The same, to be forgotten now.
fn drop_cookie(name: &str) -> String {
    format!("{name}=; Path=/; Secure; HttpOnly; SameSite=Strict; Max-Age=0")
}

/// The answer with a session's cookie.
pub(crate) fn with_session(response: Response, sealed: &str) -> Response {
    response.with("set-cookie", set_cookie(COOKIE, sealed))
}

/// The answer that ends a session at the browser.
pub(crate) fn without_session(response: Response) -> Response {
    response.with("set-cookie", drop_cookie(COOKIE))
}

/// What somebody posts who is signed in, or about to be: from a page of ours, or not at all.
pub(crate) async fn posted(incoming: &Incoming) -> Result<Form> {
    if incoming.is_cross_site() {
        return Err(foreign());
    }
    incoming.form().await
}

/// A form that was not made for whoever posts it.
pub(crate) fn foreign() -> Error {
    Error::new(
        Code::Forbidden,
        "the form was not sent from this dashboard, or is older than your session; nothing was changed. Open the page again and repeat it there",
    )
}

/// Answers whoever is signed in through `work`, everybody else with the page to sign in.
pub(crate) async fn enter(
    plane: &Plane,
    incoming: &Incoming,
    work: impl AsyncFnOnce(&Visit<'_>) -> Result<Response>,
) -> Result<Response> {
    let session = match plane.session_of(incoming.cookie(COOKIE)) {
        Ok(session) => session,
        Err(why) => return page::sign_in_first(plane, incoming, Some(why)),
    };
    let admitted = match plane.admit_again(incoming, &session).await {
        Ok(Ok(admitted)) => admitted,
        Ok(Err(why)) => return page::sign_in_first(plane, incoming, Some(why)).map(without_session),
        // The key that opened it does not pass any more: the session is over with it.
        Err(error) if error.code == Code::Unauthenticated => {
            return page::sign_in_again(plane, incoming, &error).map(without_session);
        }
        Err(error) => return Err(error),
    };
    let form = match incoming.method() {
        Method::Post => posted(incoming).await?,
        _ => Form::default(),
    };
    let visit = Visit { plane, incoming, now: plane.clock().now(), session, admitted, form };
    if incoming.method() == Method::Post
        && !plane.is_form_token(visit.session.id(), visit.form.text(FORM_TOKEN))
    {
        return Ok(page::refused(&visit, &foreign()));
    }
    let response = match work(&visit).await {
        Ok(response) => response,
        Err(error) => page::refused(&visit, &error),
    };
    // A page that is asked for again and again by a script keeps no session alive: nobody may be there.
    match plane.note_seen(&visit.session)? {
        Some(sealed) if !incoming.path().ends_with("/live") => Ok(with_session(response, &sealed)),
        _ => Ok(response),
    }
}

/// Signs out, and says so.
pub(crate) async fn leave(visit: &Visit<'_>) -> Result<Response> {
    visit
        .admitted
        .change(Action::SessionClosed, Target::default(), None, async |service, attempt| {
            service.close_session(attempt, &visit.session).await
        })
        .await?;
    Ok(without_session(Response::see_other("/dashboard/sign-in?left=1")))
}

impl Visit<'_> {
    /// What was posted.
    pub(crate) const fn form(&self) -> &Form {
        &self.form
    }

    /// The page of a list that the address leads to, and whether it is the first. Beside it only `others` may stand in its query.
    pub(crate) fn page_of(&self, per_page: &str, others: &[&str]) -> Result<(ListPage, bool)> {
        let query = self.incoming.query()?;
        query.only(&[others, &["cursor"]].concat())?;
        let cursor = query.one("cursor")?;
        Ok((ListPage::parse(Some(per_page), cursor)?, cursor.is_none()))
    }

    /// Who it is.
    pub(crate) fn principal(&self) -> &str {
        let key = self.admitted.administrator().key();
        key.principal.as_deref().unwrap_or(&key.name)
    }

    /// Whether they hold a scope for some application, or for names of some credentials, at least: then there is something to show.
    pub(crate) fn may(&self, pattern: &'static str) -> bool {
        self.admitted.administrator().scopes().holds_like(&Scope::fixed(pattern))
    }

    /// Whether they hold it for all.
    pub(crate) fn may_everywhere(&self, pattern: &'static str) -> bool {
        self.admitted.administrator().scopes().require(&Scope::fixed(pattern)).is_ok()
    }

    /// Whether they hold it for this application.
    pub(crate) fn may_at(&self, pattern: &'static str, application: ApplicationId) -> bool {
        self.admitted.administrator().scopes().require_at(&Scope::fixed(pattern), application, "").is_ok()
    }

    /// Whether they hold it for some credential of this application at least.
    pub(crate) fn may_in_part(&self, pattern: &'static str, application: ApplicationId) -> bool {
        self.admitted.administrator().scopes().holds_like(&Scope::fixed(pattern).at(application))
    }

    /// Whether they hold it for this credential, by its application and its name.
    pub(crate) fn may_named(&self, pattern: &'static str, credential: &CredentialView) -> bool {
        let needed = Scope::fixed(pattern).at(credential.application).named(&credential.name);
        self.admitted.administrator().scopes().allows(&needed)
    }

    /// They look at something.
    pub(crate) async fn look<T>(
        &self,
        action: Action,
        target: Target,
        work: impl AsyncFnOnce(&PlaneService<'_>, &Attempt) -> Result<T>,
    ) -> Result<T> {
        self.admitted.look(action, target, work).await
    }

    /// They change something, once for each form however often it is sent.
    pub(crate) async fn change<T>(
        &self,
        action: Action,
        target: Target,
        work: impl AsyncFnOnce(&PlaneService<'_>, &Attempt) -> Result<T>,
    ) -> Result<T> {
        self.admitted.change(action, target, self.form.secret(ONCE), work).await
    }

    /// The same for one of several parts of what a form asks for, each of which is done once.
    pub(crate) async fn change_part<T>(
        &self,
        part: usize,
        action: Action,
        work: impl AsyncFnOnce(&PlaneService<'_>, &Attempt) -> Result<T>,
    ) -> Result<T> {
        let once = self.form.given(ONCE).map(|once| SecretText::new(format!("{once}.{part}")));
        self.admitted.change(action, Target::default(), once, work).await
    }

    /// A form that this visitor alone can send.
    pub(crate) fn form_to(&self, path: &str, fields: &Markup) -> Markup {
        html! {
            form method="post" action=(path) {
                input type="hidden" name=(FORM_TOKEN) value=(self.plane.form_token(self.session.id()));
                input type="hidden" name=(ONCE) value=(self.plane.random_text());
                (fields)
            }
        }
    }
}

/// What somebody without a session is told of the one that they had.
pub(crate) const fn why(why: NoSession) -> Option<&'static str> {
    match why {
        NoSession::Absent => None,
        NoSession::Idle => Some("You were signed out after 15 minutes without activity."),
        NoSession::Over => Some("You were signed out: a session lasts for 8 hours at most."),
        NoSession::Closed => Some("You have signed out."),
    }
}
