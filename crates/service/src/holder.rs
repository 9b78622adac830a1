//! What holders bring who are no admins: a token that leads to one record by its digest, and the Idempotency-Keys of that record alone.

use crate::attempt::Attempt;
use crate::service::Service;
use keyward_crypto::{SecretText, digest};
use keyward_domain::ports::{Clock, Rng};
use keyward_domain::{Error, Result, token};
use keyward_ledger::{Begun, IdempotentRequest, KvWrite};
use keyward_records::{KvCount, KvRead};

/// What leads a holder to its record.
pub(crate) struct Bearer {
    /// What its text starts with.
    pub(crate) prefix: &'static str,
    /// The field of a request that it comes in.
    pub(crate) field: &'static str,
    /// What it is, with its article.
    pub(crate) what: &'static str,
    /// The same, with nothing of it missing.
    pub(crate) whole: &'static str,
}

impl Bearer {
    /// The digest by which the record of a text is found.
    ///
    /// # Errors
    /// A text that is none of these.
    pub(crate) fn digest(&self, text: &SecretText) -> Result<[u8; 32]> {
        let Self { prefix, field, what, whole } = self;
        let not_one = |expected: String| Error::field(*field, format!("is not {what}"), expected);
        match token::parse(text.expose()) {
            Ok(parsed) if parsed.prefix == *prefix => Ok(digest::sha256(text.expose().as_bytes())),
            Ok(_) => Err(not_one(format!("a text that starts with `{prefix}_`"))),
            Err(malformed) => Err(not_one(format!("{whole}: {malformed}"))),
        }
    }
}

/// A holder's idempotent request, where it came with a key. Holders have no id of their own: each record has its own
/// Idempotency-Keys, so that two who chose the same do not meet.
pub(crate) fn holders_request(
    attempt: &Attempt,
    record: &[u8],
    route: &'static str,
    lifetime_s: i64,
) -> Option<IdempotentRequest> {
    let key = attempt.caller.idempotency_key.as_ref()?;
    let key = SecretText::new(key.expose().to_owned());
    Some(IdempotentRequest::new(record, route, key, &[], lifetime_s))
}

impl<K: KvRead + KvCount + KvWrite, C: Clock, R: Rng> Service<'_, K, C, R> {
    /// Begins a holder's idempotent request where what it asks for is still `open`. Where it is not, only looks for what came of it:
    /// whoever used the record up wrote both at once, so this comes after the look at the record.
    pub(crate) async fn begin_as_holder(
        &self,
        request: Option<&IdempotentRequest>,
        open: bool,
    ) -> Result<Option<Begun>> {
        match request {
            Some(request) if open => self.ledger.begin(request).await.map(Some),
            Some(request) => Ok(self.ledger.peek(request).await?.map(Begun::Replay)),
            None => Ok(None),
        }
    }
}
