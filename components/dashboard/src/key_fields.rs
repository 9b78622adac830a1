//! What people may write about a key, whether it is new or there already: the fields of both forms, and what the API takes of them.

use crate::fields::{Line, choice, limits, limits_in, lines, listed, words};
use keyward_domain::Result;
use keyward_domain::limit::GivenLimit;
use keyward_guest::Form;
use keyward_service::KeyView;
use maud::{Markup, html};

/// The fields, by their names.
pub(crate) const FIELDS: [&str; 7] = ["name", "scopes", "networks", "tags", "policy", "limits", "roles"];

/// What is written in them.
#[derive(Debug, PartialEq)]
pub(crate) struct Written {
    pub(crate) name: String,
    pub(crate) scopes: Vec<String>,
    pub(crate) networks: Vec<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) policy: Option<String>,
    pub(crate) limits: Vec<GivenLimit>,
    pub(crate) roles: Vec<String>,
}

impl Written {
    /// What a form has.
    pub(crate) fn in_form(form: &Form) -> Result<Self> {
        Ok(Self {
            name: form.text("name").to_owned(),
            scopes: words(form.text("scopes")),
            networks: words(form.text("networks")),
            tags: listed(form.text("tags")),
            policy: form.given("policy").map(str::to_owned),
            limits: limits_in(form.text("limits"))?,
            roles: words(form.text("roles")),
        })
    }

    /// What a form would have that nobody touched.
    pub(crate) fn of(key: &KeyView) -> Self {
        let texts = |texts: &mut dyn Iterator<Item = String>| texts.collect();
        Self {
            name: key.name.clone(),
            scopes: texts(&mut key.scopes.iter().map(ToString::to_string)),
            networks: texts(&mut key.rules.network.iter().map(ToString::to_string)),
            tags: key.tags.clone(),
            policy: key.policy.map(|policy| policy.to_string()),
            limits: key.limits.clone(),
            roles: texts(&mut key.roles.iter().map(ToString::to_string)),
        }
    }

    /// The same as a field of a form has it.
    pub(crate) fn text(&self, field: &str) -> String {
        match field {
            "name" => self.name.clone(),
            "scopes" => self.scopes.join("\n"),
            "networks" => self.networks.join("\n"),
            "tags" => self.tags.join(", "),
            "policy" => self.policy.clone().unwrap_or_default(),
            "limits" => self.limits.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
            "roles" => self.roles.join("\n"),
            _ => String::new(),
        }
    }
}

/// The fields that every key has; `written` says what stands in each.
pub(crate) fn of_every_key(written: &impl Fn(&str) -> String, policies: &[(String, String)]) -> Markup {
    html! {
        (Line { name: "name", label: "Name", value: &written("name"), hint: "What people call it: what uses it, and where.", is_needed: true }.show())
        (lines("scopes", "Scopes", &written("scopes"), "What it may do, such as orders:read; one in a line. None means nothing."))
        (lines("networks", "Networks", &written("networks"), "Addresses or networks that it may be used from, such as 192.0.2.0/24; one in a line. None means from anywhere."))
        (Line { name: "tags", label: "Tags", value: &written("tags"), hint: "Words by which it is found together with others, with commas between.", is_needed: false }.show())
        (choice("policy", "Policy", policies, &written("policy")))
    }
}

/// Those of keys that are used, not administered with.
pub(crate) fn of_partners(written: &impl Fn(&str) -> String) -> Markup {
    limits(&written("limits"), "How much it may use, whatever its version")
}

/// Those of keys of `keyward` alone.
pub(crate) fn of_administrators(written: &impl Fn(&str) -> String) -> Markup {
    lines("roles", "Roles", &written("roles"), "Ids of roles whose scopes it holds as well; one in a line.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyward_domain::Code;

    #[test]
    fn what_nobody_touched_is_read_as_it_was() {
        let form = Form::parse(
            b"name=+orders+&scopes=a%3Ab%0D%0Ac%3Ad&networks=192.0.2.1&tags=eu%2C+batch&policy=&limits=burst%3D10%2F60s&roles=",
        )
        .expect("a form");
        let written = Written::in_form(&form).expect("read");
        assert_eq!((&*written.name, written.policy.as_deref()), ("orders", None));
        assert_eq!(
            (&written.scopes, &written.tags),
            (&vec!["a:b".into(), "c:d".into()], &vec!["eu".into(), "batch".into()])
        );
        let pairs: Vec<String> = FIELDS
            .iter()
            .map(|field| format!("{field}={}", written.text(field).replace('\n', "%0A").replace(' ', "+")))
            .collect();
        let again = Form::parse(pairs.join("&").as_bytes()).expect("a form");
        assert_eq!(Written::in_form(&again), Ok(written));
        let bad = Form::parse(b"limits=soon").expect("a form");
        assert_eq!(Written::in_form(&bad).map(drop).map_err(|error| error.code), Err(Code::InvalidField));
    }
}
