//! `keyward emergency freeze|thaw|status|revoke`.

use serde_json::json;

use super::Run;
use super::bulk::{Deed, selection};
use crate::answers::{Emergency, ManyKeys, RevokedKey, SkippedKey};
use crate::arguments::{EmergencyRevoke, EmergencySwitch};
use crate::client::{Answer, Call};
use crate::failure::{Ending, Result};
use crate::table::{Card, Cell, Table};
use crate::terminal::Tone;

const ROUTE: &str = "/v1/emergency";

/// Revokes many keys.
struct Revoking;

impl Deed for Revoking {
    type Key = RevokedKey;
    const ROUTE: &'static str = "/v1/revocations/bulk";
    const HEADINGS: &'static [&'static str] = &["KEY", "APPLICATION", "STATE", "EVENT", "WHY NOT"];
    const DONE: &'static str = "revoked";
    const PROGRESS: &'static str = "Keys revoked:";
    const NOTHING: &'static str = "Nothing was revoked.";

    fn question(&self, keys: &str) -> String {
        format!("Revoke {keys}, for good?")
    }

    fn take(&mut self, page: &ManyKeys<RevokedKey>, is_done: bool, table: &mut Table) -> Result<()> {
        for key in &page.keys {
            table.row([
                Cell::new(&key.id),
                Cell::new(&key.application),
                Cell::toned(if is_done { Self::DONE } else { "meant" }, Tone::Bad),
                Cell::or_dash(key.event.as_deref()),
                Cell::or_dash(None::<&str>),
            ]);
        }
        for key in &page.skipped {
            table.row([
                Cell::new(&key.id),
                Cell::or_dash(None::<&str>),
                Cell::toned("skipped", Tone::Warning),
                Cell::or_dash(None::<&str>),
                Cell::new(&key.detail),
            ]);
        }
        Ok(())
    }

    fn shown(&self, answer: &Answer) -> Result<String> {
        answer.text().map(str::to_owned)
    }

    fn advice(&self) -> String {
        "the same command goes on where this one stopped".to_owned()
    }

    fn fails_at(&self, _: &SkippedKey) -> bool {
        true
    }

    fn failure(&self, keys: &str) -> (&'static str, String) {
        ("Keys live on", format!("{keys} that the selection means cannot be revoked with this key"))
    }
}

impl Run<'_> {
    pub(super) fn set_issuing(&self, to: &str, options: &EmergencySwitch) -> Result<Ending> {
        let call = Call::post(format!("{ROUTE}/{to}"), &json!({ "reason": options.reason }))?;
        self.show_issuing(&self.client()?.call(&call)?)
    }

    pub(super) fn show_emergency(&self) -> Result<Ending> {
        self.show_issuing(&self.client()?.call(&Call::get(ROUTE))?)
    }

    fn show_issuing(&self, answer: &Answer) -> Result<Ending> {
        self.show(answer, || {
            let Emergency { issuing } = answer.read()?;
            let tone = if issuing.state == "open" { Tone::Good } else { Tone::Bad };
            let mut card = Card::new().field("issuing", Cell::toned(&issuing.state, tone));
            let by = issuing.by.as_ref().map(ToString::to_string);
            let facts =
                [("since", issuing.at), ("by", by), ("reason", issuing.reason), ("event", issuing.event)];
            for (name, fact) in facts {
                if let Some(fact) = fact {
                    card = card.field(name, Cell::new(fact));
                }
            }
            Ok(card.render(self.terminal.styles()))
        })
    }

    pub(super) fn revoke_keys(&self, options: &EmergencyRevoke) -> Result<Ending> {
        self.for_many(&mut Revoking, &selection(&options.which, &options.reason), &options.asking)
    }
}
