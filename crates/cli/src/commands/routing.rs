//! `keyward app route|routes`: which of an application's keys serves which slot.

use serde_json::json;

use super::Run;
use crate::answers::RoutingTable;
use crate::arguments::{AppRoute, AppRoutes};
use crate::client::{Call, Client};
use crate::failure::{Ending, Result};
use crate::table::{Cell, Table};

impl Run<'_> {
    pub(super) fn assign_slot(&self, options: &AppRoute) -> Result<Ending> {
        let key = options.key.map(|key| key.to_string());
        let change = json!({ "routes": { options.slot.as_str(): key } });
        let client = self.client()?;
        client.call(&Call::patch(format!("/v1/applications/{}", options.id), &change)?)?;
        self.routes_of(&client, options.id)
    }

    pub(super) fn show_routes(&self, options: &AppRoutes) -> Result<Ending> {
        self.routes_of(&self.client()?, options.id)
    }

    fn routes_of(&self, client: &Client, id: keyward_domain::ApplicationId) -> Result<Ending> {
        let answer = client.call(&Call::get(format!("/v1/routes/{id}")))?;
        self.show(&answer, || {
            let found: RoutingTable = answer.read()?;
            let mut table = Table::new(&["SLOT", "KEY", "STATE", "ROTATION", "VERSIONS THAT PASS"]);
            for route in &found.routes {
                let version = |version: &crate::answers::Version| match &version.ends_at {
                    Some(end) => format!("{} until {end}", version.version),
                    None => version.version.to_string(),
                };
                let versions: Vec<String> = route.versions.iter().map(version).collect();
                table.row([
                    Cell::new(&route.slot),
                    Cell::new(&route.key),
                    Cell::state(&route.state),
                    Cell::new(&route.rotation),
                    Cell::or_dash((!versions.is_empty()).then(|| versions.join(", "))),
                ]);
            }
            Ok(if table.is_empty() { "No slots.\n".to_owned() } else { table.render(self.terminal.styles()) })
        })
    }
}
