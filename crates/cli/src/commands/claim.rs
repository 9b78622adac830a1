//! `keyward key claim`: takes a claim, believes the answer only when its signature is authentic, and puts the token where it was
//! asked for. Everything that can fail without the claim is done before it.

use std::path::Path;

use keyward_crypto::SecretText;
use keyward_domain::claim::CLAIM_REPLAY_S;
use keyward_domain::error::Blame;
use serde::Serialize;

use super::Run;
use crate::answers::{Claimed, ClaimedKey};
use crate::arguments::KeyClaim;
use crate::client::{Answer, Call, Client, base_of, fresh_idempotency_key};
use crate::escape::shown_json;
use crate::failure::{Ending, Failure, Result};
use crate::secret_file::NewSecretFile;
use crate::secret_source;
use crate::signed;
use crate::table::{Card, Cell};
use keyward_client::Base;

const ROUTE: &str = "/v1/claims";
/// The path of the page that a claim's link leads to.
const PAGE_ROUTE: &str = "/claim";

#[derive(Serialize)]
struct Ticket<'a> {
    ticket: &'a str,
}

/// An answer that was verified, and what to repeat it with.
struct Taken {
    answer: Answer,
    idempotency_key: String,
}

/// Where the tokens go; made before the claim is taken, since one that cannot be written would be lost.
pub(super) struct Files<'a> {
    token: NewSecretFile,
    token_path: &'a Path,
    renewal: Option<(NewSecretFile, &'a Path)>,
}

impl<'a> Files<'a> {
    /// Makes the files.
    pub(super) fn create(token: &'a Path, renewal: Option<&'a Path>) -> Result<Self> {
        let file = NewSecretFile::create(token)?;
        let renewal = renewal.map(|path| NewSecretFile::create(path).map(|file| (file, path))).transpose()?;
        Ok(Self { token: file, token_path: token, renewal })
    }
}

impl Run<'_> {
    pub(super) fn claim_key(&self, options: &KeyClaim) -> Result<Ending> {
        let given = secret_source::read(options.ticket.as_deref(), "ticket", "Ticket or claim link: ")?;
        let (base, ticket) = split(given)?;
        let client = self.holder(base)?;
        let files = options.out.as_deref().map(|out| Files::create(out, options.renewal_out.as_deref()));
        let files = files.transpose()?;
        let key = options.idempotency_key.clone().map_or_else(fresh_idempotency_key, Ok)?;
        let taken = take(&client, &ticket, key, options.signer.as_deref())?;
        match files {
            Some(files) => self.store(&taken, files),
            None => self.print_token(&taken),
        }
    }

    /// Claims with a ticket that was just issued.
    pub(super) fn claim_into(
        &self,
        client: &Client,
        ticket: &SecretText,
        files: Files<'_>,
    ) -> Result<Ending> {
        let taken = take(client, ticket, fresh_idempotency_key()?, None)?;
        self.store(&taken, files)
    }

    /// The client of whoever holds a claim: a link says itself where it leads, unless the command line says otherwise.
    fn holder(&self, link: Option<Base>) -> Result<Client> {
        let base = if self.global.origins.is_said() { None } else { link };
        Client::anonymous(self.global, base, self.terminal)
    }

    fn store(&self, taken: &Taken, files: Files<'_>) -> Result<Ending> {
        let Read { key, raw, token, renewal } = read(&taken.answer)?;
        let advise = |failure: Failure| failure.advise(repeat_advice(&taken.idempotency_key));
        let mut card = card(&key).field("token in", Cell::new(files.token_path.display().to_string()));
        files.token.fill(&token).map_err(advise)?;
        match (files.renewal, &renewal) {
            (Some((file, path)), Some(renewal)) => {
                file.fill(renewal).map_err(advise)?;
                card = card.field("renewal token in", Cell::new(path.display().to_string()));
            }
            (Some(_), None) => {
                self.terminal.note("The key's policy does not let its holder renew it: there is no renewal token.");
            }
            (None, Some(_)) => self.terminal.note(
                "The renewal token that came with it was thrown away: --renewal-out FILE keeps it, for `keyward renew`.",
            ),
            (None, None) => {}
        }
        if self.global.json {
            // The server's JSON without the tokens, which went into the files.
            self.terminal.print(&shown_json(&format!(r#"{{"key":{raw}}}"#)))?;
        } else {
            self.terminal.print(&card.render(self.terminal.styles()))?;
        }
        Ok(Ending::Done)
    }

    fn print_token(&self, taken: &Taken) -> Result<Ending> {
        let Read { key, token, .. } = read(&taken.answer)?;
        let printed = if self.global.json {
            self.terminal.print(&shown_json(taken.answer.text()?))
        } else {
            self.terminal.note(card(&key).render(crate::terminal::Styles::OFF).trim_end());
            self.terminal.print(token.expose())
        };
        printed.map_err(|failure| failure.advise(repeat_advice(&taken.idempotency_key)))?;
        Ok(Ending::Done)
    }
}

/// A ticket, or a link with one after its `#`.
fn split(given: SecretText) -> Result<(Option<Base>, SecretText)> {
    let Some((link, ticket)) = given.expose().split_once('#') else { return Ok((None, given)) };
    let Some(base) = link.strip_suffix(PAGE_ROUTE) else {
        return Err(Failure::new(
            Blame::Caller,
            "The ticket cannot be used",
            "it is neither a ticket nor a claim's link; expected `kwc_...` or `https://.../claim#kwc_...`",
        ));
    };
    Ok((Some(base_of(base, "the claim's link")?), SecretText::new(ticket.to_owned())))
}

/// Takes the claim; the answer is authentic.
fn take(
    client: &Client,
    ticket: &SecretText,
    idempotency_key: String,
    signer: Option<&str>,
) -> Result<Taken> {
    let fault = match keyward_domain::token::parse(ticket.expose()) {
        Ok(parsed) if parsed.prefix == keyward_domain::token::PREFIX_CLAIM => None,
        Ok(_) => {
            Some("it is a token, and its secret would travel for nothing; expected `kwc_...`".to_owned())
        }
        Err(fault) => Some(format!("{fault}; was it copied as a whole?")),
    };
    if let Some(fault) = fault {
        return Err(Failure::new(Blame::Caller, "The ticket cannot be used", fault));
    }
    let call = Call::post(ROUTE, &Ticket { ticket: ticket.expose() })?.creating_as(idempotency_key.clone());
    let answer = signed::ask(client, call, ROUTE, signer).map_err(|failure| match failure.blame() {
        Some(Blame::Store) => failure.advise(repeat_advice(&idempotency_key)),
        _ => failure,
    })?;
    Ok(Taken { answer, idempotency_key })
}

/// A claim's answer, taken apart.
struct Read<'a> {
    key: ClaimedKey,
    raw: &'a str,
    token: SecretText,
    renewal: Option<SecretText>,
}

fn read(answer: &Answer) -> Result<Read<'_>> {
    let Claimed { key, token, renewal_token } = answer.read()?;
    let raw = key.get();
    let key = serde_json::from_str(raw)
        .map_err(|_| Failure::not_keyward(answer, "its `key` is of another shape"))?;
    Ok(Read { key, raw, token: SecretText::new(token), renewal: renewal_token.map(SecretText::new) })
}

fn repeat_advice(idempotency_key: &str) -> String {
    format!(
        "Should the claim have been taken, its answer can be had again for {CLAIM_REPLAY_S} s: repeat with --idempotency-key {idempotency_key}"
    )
}

fn card(key: &ClaimedKey) -> Card {
    Card::new()
        .field("key", Cell::new(&key.id))
        .field("application", Cell::new(&key.application))
        .field("name", Cell::new(&key.name))
        .field("environment", Cell::new(&key.environment))
        .field("version", Cell::new(key.version.to_string()))
        .field("expires", key.expires_at.as_deref().map_or_else(|| Cell::new("never"), Cell::new))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_or_a_link() {
        let of = |text: &str| {
            split(SecretText::new(text.to_owned()))
                .map(|(base, ticket)| (base.map(|base| base.to_string()), ticket.expose().to_owned()))
                .map_err(|failure| failure.exit_code())
        };
        assert_eq!(of("kwc_x"), Ok((None, "kwc_x".to_owned())));
        assert_eq!(
            of("https://keys.example/a/claim#kwc_x"),
            Ok((Some("https://keys.example/a".to_owned()), "kwc_x".to_owned()))
        );
        assert_eq!(of("https://keys.example/other#kwc_x"), Err(3));
        assert_eq!(of("javascript:alert(1)/claim#kwc_x"), Err(2));
    }
}
