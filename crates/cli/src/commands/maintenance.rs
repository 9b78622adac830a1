//! `keyward maintenance`: what the scheduler does, asked for.

use super::Run;
use crate::answers::Maintenance;
use crate::client::Call;
use crate::failure::{Ending, Result};
use crate::table::{Card, Cell};

impl Run<'_> {
    pub(super) fn run_maintenance(&self) -> Result<Ending> {
        let answer = self.client()?.call(&Call::post("/v1/maintenance/run", &serde_json::json!({}))?)?;
        self.show(&answer, || {
            let Maintenance { integrated, taken, late_events, due } = answer.read()?;
            let card = Card::new()
                .field("integrated", Cell::new(format!("{integrated} of {taken} tickets")))
                .field("late events", Cell::new(late_events.to_string()))
                .field("keys due", Cell::new(due.keys.to_string()))
                .field("offered", Cell::new(due.offered.to_string()))
                .field("policy broken", Cell::new(due.broken.to_string()))
                .field("minutes left", Cell::new(due.minutes_left.to_string()));
            Ok(card.render(self.terminal.styles()))
        })
    }
}
