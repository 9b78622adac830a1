//! `keyward verify`: asks whether a token may pass, as a gateway would.

use serde::Serialize;

use super::Run;
use super::application::joined;
use crate::answers::Verdict;
use crate::arguments::Verify;
use crate::client::Call;
use crate::failure::{Ending, Result};
use crate::table::{Card, Cell};

#[derive(Serialize)]
struct Question<'a> {
    token: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    scopes: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    client_ip: Option<std::net::IpAddr>,
}

impl Run<'_> {
    pub(super) fn verify(&self, options: &Verify) -> Result<Ending> {
        let (client, token) = self.client_and_token(options.token.as_deref())?;
        let question =
            Question { token: token.expose(), scopes: &options.scopes, client_ip: options.client_ip };
        let answer = client.call(&Call::post("/v1/keys/verify", &question)?)?;
        let verdict: Verdict = answer.read()?;
        self.show(&answer, || {
            let mut card = Card::new()
                .field("valid", Cell::state(if verdict.valid { "yes" } else { "no" }))
                .field("code", Cell::state(&verdict.code));
            if let Some(key) = &verdict.key {
                card = card
                    .field("key", Cell::new(&key.id))
                    .field("name", Cell::new(&key.name))
                    .field("environment", Cell::new(&key.environment))
                    .field("version", Cell::new(key.version.to_string()))
                    .field(
                        "expires",
                        key.expires_at.as_deref().map_or_else(|| Cell::new("never"), Cell::new),
                    );
            }
            if let Some(application) = &verdict.application {
                card = card.field("application", Cell::new(&application.id));
            }
            if let Some(scopes) = joined(&verdict.scopes) {
                card = card.field("scopes", Cell::new(scopes));
            }
            Ok(card.render(self.terminal.styles()))
        })?;
        Ok(if verdict.valid { Ending::Done } else { Ending::NotValid })
    }
}
