//! What the deeds of keys, of applications and of webhooks have in common: each has a page of its own, below the thing's, that says what it
//! will do, and a form that does it. What each does is in the files of those things.

use keyward_domain::{Code, Error, Result};
use maud::{Markup, html};
use std::fmt::Display;

/// How a deed is told.
pub(crate) struct Told {
    /// The end of its page's path.
    pub(crate) path: &'static str,
    /// What leads to it.
    pub(crate) label: &'static str,
    /// What does it.
    pub(crate) button: &'static str,
    /// Whether it ends something that is in use.
    pub(crate) is_dangerous: bool,
    /// What the page says that one comes to after it; none where that page is another.
    pub(crate) done: Option<&'static str>,
}

impl Told {
    pub(crate) const fn new(path: &'static str, label: &'static str, button: &'static str) -> Self {
        Self { path, label, button, is_dangerous: false, done: None }
    }

    /// The same for one that ends something that is in use.
    #[must_use]
    pub(crate) const fn dangerous(self) -> Self {
        Self { is_dangerous: true, ..self }
    }

    /// The same with what is said afterwards.
    #[must_use]
    pub(crate) const fn done(self, done: &'static str) -> Self {
        Self { done: Some(done), ..self }
    }
}

/// What can be done with a thing.
pub(crate) trait Deed: Copy + 'static {
    /// All of them, the quiet ones first.
    const ALL: &'static [Self];

    /// How it is told.
    fn told(self) -> Told;

    /// The one whose page's path ends so.
    fn of(path: &str) -> Result<Self> {
        let found = Self::ALL.iter().copied().find(|deed| deed.told().path == path);
        found.ok_or_else(|| Error::new(Code::NotFound, "there is no such page"))
    }

    /// What a page says that one comes to after the deed that its address names.
    fn done(path: Option<&str>) -> Option<&'static str> {
        Self::of(path?).ok()?.told().done
    }
}

/// The ways to the deeds of the thing whose page this is.
pub(crate) fn ways<D: Deed>(here: impl Display, fitting: impl Iterator<Item = D>) -> Markup {
    html! {
        @for Told { path, label, is_dangerous, .. } in fitting.map(Deed::told) {
            li { a class={ "button " (if is_dangerous { "danger" } else { "" }) } href=(format!("{here}/{path}")) { (label) } }
        }
    }
}

/// The end of a deed's form: what does it, and the way back.
pub(crate) fn buttons(deed: impl Deed, here: &str) -> Markup {
    let Told { button, is_dangerous, .. } = deed.told();
    html! {
        p class="actions" {
            button class=[is_dangerous.then_some("danger")] { (button) }
            " " a href=(here) { "Leave it as it is" }
        }
    }
}

/// Each deed is found by its path, and by no other.
#[cfg(test)]
pub(crate) fn check_paths<D: Deed + PartialEq + std::fmt::Debug>() {
    for deed in D::ALL {
        assert_eq!(D::of(deed.told().path), Ok(*deed));
    }
    for none in ["", "revoke/", "nothing"] {
        assert!(D::of(none).is_err());
    }
}
