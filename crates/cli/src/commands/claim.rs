//! `keyward key claim`: takes a claim, believes the answer only when its signature is authentic, and puts the token where it was
//! asked for. Everything that can fail without the claim is done before it.

use std::path::Path;

use keyward_crypto::SecretText;
use keyward_crypto::sign::{PublishedKeys, ReceivedResponse, verify_response};
use keyward_domain::claim::CLAIM_REPLAY_S;
use keyward_domain::error::Blame;
use serde::Serialize;

use super::Run;
use crate::answers::{Claimed, ClaimedKey};
use crate::arguments::KeyClaim;
use crate::client::{Answer, Base, Call, Client, fresh_idempotency_key};
use crate::escape::shown_json;
use crate::failure::{Ending, Failure, Result};
use crate::secret_file::NewSecretFile;
use crate::secret_source;
use crate::table::{Card, Cell};

const ROUTE: &str = "/v1/claims";
const JWKS_ROUTE: &str = "/.well-known/keyward/jwks.json";
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

impl Run<'_> {
    pub(super) fn claim_key(&self, options: &KeyClaim) -> Result<Ending> {
        let given = secret_source::read(options.ticket.as_deref(), "ticket", "Ticket or claim link: ")?;
        let (base, ticket) = split(given)?;
        let client = self.holder(base)?;
        // Before the claim is taken: a token that cannot be written would be lost.
        let file = options.out.as_deref().map(NewSecretFile::create).transpose()?;
        let key = options.idempotency_key.clone().map_or_else(fresh_idempotency_key, Ok)?;
        let taken = take(&client, &ticket, key, options.signer.as_deref())?;
        match (file, &options.out) {
            (Some(file), Some(path)) => self.store(&taken, file, path),
            _ => self.print_token(&taken),
        }
    }

    /// Claims with a ticket that was just issued.
    pub(super) fn claim_into(
        &self,
        client: &Client,
        ticket: &SecretText,
        file: NewSecretFile,
        path: &Path,
    ) -> Result<Ending> {
        let taken = take(client, ticket, fresh_idempotency_key()?, None)?;
        self.store(&taken, file, path)
    }

    /// The client of whoever holds a claim: a link says itself where it leads, unless the command line says otherwise.
    fn holder(&self, link: Option<Base>) -> Result<Client> {
        let base = if self.global.origins.is_said() { None } else { link };
        Client::anonymous(self.global, base, self.terminal)
    }

    fn store(&self, taken: &Taken, file: NewSecretFile, path: &Path) -> Result<Ending> {
        let (key, raw, token) = read(&taken.answer)?;
        file.fill(&token).map_err(|failure| failure.advise(repeat_advice(&taken.idempotency_key)))?;
        if self.global.json {
            // The server's JSON without the token, which went into the file.
            self.terminal.print(&shown_json(&format!(r#"{{"key":{raw}}}"#)))?;
        } else {
            let path = path.display().to_string();
            self.terminal
                .print(&card(&key).field("token in", Cell::new(path)).render(self.terminal.styles()))?;
        }
        Ok(Ending::Done)
    }

    fn print_token(&self, taken: &Taken) -> Result<Ending> {
        let (key, _, token) = read(&taken.answer)?;
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
    Ok((Some(Base::parse(base, "the claim's link")?), SecretText::new(ticket.to_owned())))
}

/// Takes the claim and verifies the answer.
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
    let published = published_keys(client, signer)?;
    let call = Call::post(ROUTE, &Ticket { ticket: ticket.expose() })?
        .creating_as(idempotency_key.clone())
        .digested();
    let answer = client.call(&call).map_err(|failure| match failure.blame() {
        Some(Blame::Store) => failure.advise(repeat_advice(&idempotency_key)),
        _ => failure,
    })?;
    verify(client, &call, &answer, &published, signer)?;
    Ok(Taken { answer, idempotency_key })
}

fn published_keys(client: &Client, signer: Option<&str>) -> Result<PublishedKeys> {
    let answer = client.call(&Call::get(JWKS_ROUTE))?;
    let keys = PublishedKeys::parse(answer.text()?)
        .map_err(|fault| Failure::not_keyward(&answer, &fault.to_string()))?;
    if let Some(signer) = signer
        && !keys.kids().any(|kid| kid == signer)
    {
        let detail =
            format!("{} does not publish the key that --signer names; nothing was claimed", client.base());
        return Err(Failure::new(Blame::Integrity, "The signer is another one", detail));
    }
    Ok(keys)
}

fn verify(
    client: &Client,
    call: &Call,
    answer: &Answer,
    keys: &PublishedKeys,
    signer: Option<&str>,
) -> Result<()> {
    let header = |name| answer.header(name).unwrap_or_default();
    let (content_digest, signature_input, signature) =
        (header("content-digest"), header("signature-input"), header("signature"));
    let path = client.path_of(ROUTE);
    let received = ReceivedResponse {
        method: "POST",
        path: &path,
        request_content_digest: call.content_digest(),
        status: answer.status,
        body: &answer.body,
        content_digest: &content_digest,
        signature_input: &signature_input,
        signature: &signature,
    };
    let fault = match verify_response(keys, &received, now_unix_s()?) {
        Ok(verified) => match signer {
            Some(signer) if signer != verified.kid => {
                format!("signed by the key `{}`, not the expected one", verified.kid)
            }
            _ => return Ok(()),
        },
        Err(fault) => fault.to_string(),
    };
    Err(Failure::new(Blame::Integrity, "The answer is not authentic", fault)
        .advise("The token that came with it was thrown away. The claim is taken: have the key revoked."))
}

fn now_unix_s() -> Result<i64> {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_err(|_| Failure::system("clock", "stands before 1970"))?;
    i64::try_from(since.as_secs()).map_err(|error| Failure::system("clock", error))
}

fn read(answer: &Answer) -> Result<(ClaimedKey, &str, SecretText)> {
    let Claimed { key, token } = answer.read()?;
    let token = SecretText::new(token);
    let raw = key.get();
    let key = serde_json::from_str(raw)
        .map_err(|_| Failure::not_keyward(answer, "its `key` is of another shape"))?;
    Ok((key, raw, token))
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
