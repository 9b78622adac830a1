//! `keyward role create|list|show|change|retire`.

use serde_json::{Map, Value, json};

use super::Run;
use super::application::joined;
use crate::answers::Role;
use crate::arguments::{Paging, RoleChange, RoleCreate, RoleRetire, RoleShow};
use crate::client::{Answer, Call};
use crate::failure::{Ending, Result};
use crate::table::{Card, Cell};

const ROUTE: &str = "/v1/roles";

impl Run<'_> {
    pub(super) fn create_role(&self, options: &RoleCreate) -> Result<Ending> {
        let mut body = Map::from_iter([
            ("name".to_owned(), json!(options.name)),
            ("scopes".to_owned(), json!(options.scopes)),
        ]);
        body.extend(options.description.as_ref().map(|text| ("description".to_owned(), json!(text))));
        let answer = self.client()?.call(&Call::post(ROUTE, &Value::Object(body))?.creating()?)?;
        self.show_one_role(&answer)
    }

    pub(super) fn list_roles(&self, paging: &Paging) -> Result<Ending> {
        let page = self.client()?.list(paging, || Call::get(ROUTE))?;
        let headings = ["ROLE", "NAME", "STATE", "SCOPES", "CREATED"];
        self.show_list(&page, "No roles.", &headings, |item, table| {
            let role: Role = serde_json::from_str(item.get())?;
            table.row([
                Cell::new(&role.id),
                Cell::new(&role.name),
                state(&role),
                Cell::or_dash(joined(&role.scopes)),
                Cell::new(&role.created_at),
            ]);
            Ok(())
        })
    }

    pub(super) fn show_role(&self, options: &RoleShow) -> Result<Ending> {
        let answer = self.client()?.call(&Call::get(format!("{ROUTE}/{}", options.id)))?;
        self.show_one_role(&answer)
    }

    pub(super) fn change_role(&self, options: &RoleChange) -> Result<Ending> {
        let scopes = (!options.scopes.is_empty() || options.no_scopes).then(|| json!(options.scopes));
        let given = [
            ("name", options.name.as_ref().map(|text| json!(text))),
            ("description", options.description.as_ref().map(|text| json!(text))),
            ("scopes", scopes),
        ];
        let body: Map<String, Value> =
            given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
        let route = format!("{ROUTE}/{}", options.id);
        let answer = self.client()?.call(&Call::patch(route, &Value::Object(body))?)?;
        self.show_one_role(&answer)
    }

    pub(super) fn retire_role(&self, options: &RoleRetire) -> Result<Ending> {
        let route = format!("{ROUTE}/{}/retire", options.id);
        let answer = self.client()?.call(&Call::post(route, &json!({ "reason": options.reason }))?)?;
        self.show_one_role(&answer)
    }

    fn show_one_role(&self, answer: &Answer) -> Result<Ending> {
        self.show(answer, || {
            let role: Role = answer.read()?;
            let mut card =
                Card::new().field("role", Cell::new(&role.id)).field("name", Cell::new(&role.name));
            if !role.description.is_empty() {
                card = card.field("description", Cell::new(&role.description));
            }
            card = card
                .field("scopes", Cell::or_dash(joined(&role.scopes)))
                .field("state", state(&role))
                .field("created", Cell::new(&role.created_at));
            if let Some(at) = &role.retired_at {
                card = card.field("retired", Cell::new(at));
            }
            Ok(card.render(self.terminal.styles()))
        })
    }
}

fn state(role: &Role) -> Cell {
    Cell::state(if role.retired_at.is_some() { "retired" } else { "active" })
}
