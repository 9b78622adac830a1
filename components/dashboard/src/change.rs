//! A change before it is made: what is now and what will be, side by side, and the form that makes it. What was written travels in that
//! form, with the revision that was looked at: what somebody else changed meanwhile is not written over.

use crate::parts::name;
use crate::visit::Visit;
use keyward_guest::Form;
use maud::{Markup, html};
use std::fmt::Display;

/// The field that says which step a form is for.
const STEP: &str = "step";
/// The step that makes the change; any other looks at what it would come to.
const MAKE: &str = "make";
/// The field with the revision that was looked at.
const REVISION: &str = "revision";

/// One thing that will be another.
pub(crate) struct Row {
    what: &'static str,
    now: Vec<String>,
    then: Vec<String>,
}

/// What is, against what will be; none where they are alike.
pub(crate) fn row<T: Display>(
    what: &'static str,
    now: impl IntoIterator<Item = T>,
    then: impl IntoIterator<Item = T>,
) -> Option<Row> {
    let texts =
        |values: &mut dyn Iterator<Item = T>| values.map(|value| value.to_string()).collect::<Vec<_>>();
    let (now, then) = (texts(&mut now.into_iter()), texts(&mut then.into_iter()));
    (now != then).then_some(Row { what, now, then })
}

/// A change that somebody is asked about.
pub(crate) struct Proposal<'p> {
    /// Where the form leads.
    pub(crate) action: &'p str,
    /// Where whoever changes their mind goes.
    pub(crate) back: &'p str,
    /// What will be different.
    pub(crate) rows: Vec<Row>,
    /// What that means.
    pub(crate) means: Markup,
    /// The fields of the form that it came from.
    pub(crate) fields: &'p [&'static str],
    /// What is asked for beside the confirmation.
    pub(crate) more: Markup,
    /// The revision that was looked at.
    pub(crate) revision: u64,
}

impl Proposal<'_> {
    /// Asks.
    pub(crate) fn show(&self, visit: &Visit<'_>) -> Markup {
        let form = visit.form();
        html! {
            div class="confirm" {
                ul class="consequences" { (self.means) }
                div class="table" { table class="compared" {
                    thead { tr { th scope="col" { "What" } th scope="col" { "Now" } th scope="col" { "Then" } } }
                    tbody { @for Row { what, now, then } in &self.rows {
                        tr {
                            th scope="row" data-label="What" { (what) }
                            td data-label="Now" { (values(now, |value| if then.contains(value) { html! { (name(value)) } } else { html! { del { (name(value)) } } })) }
                            td data-label="Then" { (values(then, |value| if now.contains(value) { html! { (name(value)) } } else { html! { ins { (name(value)) } } })) }
                        }
                    } }
                } }
                (visit.form_to(self.action, &html! {
                    @for field in self.fields { input type="hidden" name=(field) value=(form.text(field)); }
                    input type="hidden" name=(STEP) value=(MAKE);
                    (seen(self.revision))
                    (self.more)
                    p class="actions" { button { "Change it" } " " a href=(self.back) { "Leave it as it is" } }
                }))
            }
        }
    }
}

fn values(values: &[String], show: impl Fn(&String) -> Markup) -> Markup {
    html! {
        @if values.is_empty() { span class="soft" { "none" } }
        @else { ul class="stacked" { @for value in values { li { (show(value)) } } } }
    }
}

/// Whether the change is to be made, or only looked at.
pub(crate) fn is_meant(visit: &Visit<'_>) -> bool {
    visit.form().text(STEP) == MAKE
}

/// The revision that a form was made for, as a field of it.
pub(crate) fn seen(revision: u64) -> Markup {
    html! { input type="hidden" name=(REVISION) value=(revision); }
}

/// The revision that whoever filled in the form saw. A form without it is none of ours, and matches nothing.
pub(crate) fn revision_seen(visit: &Visit<'_>) -> Option<u64> {
    Some(visit.form().text(REVISION).parse().unwrap_or(0))
}

/// What a field of one line has. Where nobody touched it that is what it was shown with: browsers take line feeds out of it.
pub(crate) fn line(form: &Form, field: &str, shown: &str) -> String {
    let written = form.text(field);
    let bare = |text: &str| text.replace(['\r', '\n'], "").trim().to_owned();
    if bare(written) == bare(shown) { shown.to_owned() } else { written.to_owned() }
}

/// The entries of a field of several lines, out of which `read` takes them. Where nobody touched it they are those that it was shown with:
/// an entry of its own may have what stands between entries.
pub(crate) fn entries(
    form: &Form,
    field: &str,
    shown: (&str, &[String]),
    read: fn(&str) -> Vec<String>,
) -> Vec<String> {
    let written = form.text(field);
    // Browsers send each end of a line as both letters.
    let lines = |text: &str| text.replace("\r\n", "\n").replace('\r', "\n").trim().to_owned();
    if lines(written) == lines(shown.0) { shown.1.to_vec() } else { read(written) }
}

/// What was asked for, where it is another than what is.
pub(crate) fn differing<T: PartialEq>(asked: T, is: &T) -> Option<T> {
    (asked != *is).then_some(asked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::listed;

    #[test]
    fn what_a_browser_makes_of_a_text_that_nobody_touched_is_no_change() {
        let form = Form::parse(b"name=a%26b&contacts=x%2C+y%0D%0Az&other=a%0D%0Ab").expect("a form");
        assert_eq!(
            (line(&form, "name", "a&\r\nb"), line(&form, "name", "a&c")),
            ("a&\r\nb".into(), "a&b".into())
        );
        let shown = ["x, y".to_owned(), "z".to_owned()];
        assert_eq!(entries(&form, "contacts", ("x, y\nz", &shown), listed), shown, "with a comma of its own");
        assert_eq!(entries(&form, "contacts", ("x, y", &shown[..1]), listed), ["x", "y", "z"]);
        // Two lines are not one.
        assert_eq!(entries(&form, "other", ("ab", &["ab".to_owned()]), listed), ["a", "b"]);
    }

    #[test]
    fn what_stays_is_no_row() {
        assert!(row("Name", ["a"], ["a"]).is_none() && row::<&str>("Tags", [], []).is_none());
        let row = row("Tags", vec!["eu", "old"], vec!["eu", "new"]).expect("a row");
        assert_eq!((row.now, row.then), (vec!["eu".into(), "old".into()], vec!["eu".into(), "new".into()]));
        assert_eq!((differing("a", &"a"), differing("a", &"b")), (None, Some("a")));
    }
}
