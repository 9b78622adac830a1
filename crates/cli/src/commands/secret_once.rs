//! What a call answers once and never again: the secret that Keyward signs with for a webhook or a provider.

use std::path::Path;

use serde::de::DeserializeOwned;

use super::Run;
use crate::answers::WithSecret;
use crate::client::Call;
use crate::escape::shown_json;
use crate::failure::{Ending, Failure, Result};
use crate::secret_file::NewSecretFile;
use crate::table::{Card, Cell};

impl Run<'_> {
    /// A call whose answer has a secret, which goes into a file, or else to standard output alone. `what` is how the answer calls the
    /// thing that it belongs to, and `card` shows that.
    pub(super) fn show_secret_once<T: DeserializeOwned>(
        &self,
        call: &Call,
        out: Option<&Path>,
        what: &str,
        card: impl Fn(&T) -> Card,
    ) -> Result<Ending> {
        let client = self.client()?;
        // Before the call: a secret that cannot be written would be lost.
        let file = out.map(NewSecretFile::create).transpose()?;
        let answer = client.call(call)?;
        let made: WithSecret<'_> = answer.read()?;
        let thing: T =
            serde_json::from_str(made.thing.get()).map_err(|error| Failure::system("JSON", error))?;
        match (file, out) {
            (Some(file), Some(path)) => {
                file.fill(&made.secret)?;
                if self.global.json {
                    // The server's JSON without the secret, which went into the file.
                    let shown = format!(r#"{{"{what}":{}}}"#, made.thing.get());
                    self.terminal.print(&shown_json(&shown))?;
                } else {
                    let path = Cell::new(path.display().to_string());
                    let card = card(&thing).field("secret in", path);
                    self.terminal.print(&card.render(self.terminal.styles()))?;
                }
            }
            _ if self.global.json => self.terminal.print(&shown_json(answer.text()?))?,
            _ => {
                self.terminal.note(card(&thing).render(crate::terminal::Styles::OFF).trim_end());
                self.terminal.print(made.secret.expose())?;
            }
        }
        Ok(Ending::Done)
    }
}
