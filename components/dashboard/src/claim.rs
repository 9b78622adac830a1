//! The link that was just made for whoever is to claim a version. It is shown in the answer to the form that asked for it and nowhere
//! else: loading that answer again gives the same link, since the form has an Idempotency-Key.

use crate::keys::PATH;
use crate::page::Page;
use crate::parts::{copied, name, when_in_full};
use crate::visit::Visit;
use keyward_domain::{Error, KeyId, Result, Timestamp};
use keyward_guest::Response;
use keyward_service::{Answer, IssuedKey};
use maud::html;
use serde::Deserialize;

/// What is read of the answer, which may be one of before.
#[derive(Deserialize)]
struct Handed {
    key: HandedKey,
    claim: HandedClaim,
}

#[derive(Deserialize)]
struct HandedKey {
    id: KeyId,
    name: String,
}

#[derive(Deserialize)]
struct HandedClaim {
    url: String,
    expires_at: Timestamp,
}

/// The page.
pub(crate) fn page(visit: &Visit<'_>, answer: &Answer<IssuedKey>) -> Result<Response> {
    let text = answer.to_json();
    let handed: Handed = serde_json::from_str(text.expose())
        .map_err(|_| Error::internal("a claim's answer cannot be read"))?;
    let Handed { key, claim } = handed;
    let path = format!("{PATH}/{}", key.id);
    let body = html! {
        p class="lead" { "Hand this link to whoever the key " strong { (name(&key.name)) } " is for. It is shown here alone." }
        p class="secret" { (copied(&claim.url)) }
        ul class="consequences" {
            li { "It works once, until " (when_in_full(claim.expires_at, visit.now)) ". After that, reissue the claim." }
            li { "Whoever opens it sees what the key is, and has the secret minted with a click. Nobody else ever sees the secret, not even here." }
            li { "Send it where only they read it. If somebody else was faster, they are told so, and it is an alarm in the log." }
            li { "The answer that carries the secret is signed; " (crate::parts::code("keyward claim")) " checks that by itself." }
        }
        p { a class="button" href=(path) { "Go to the key" } }
    };
    Ok(Page::new(PATH, "The key is ready to be claimed", body)
        .below("Keys", PATH)
        .below(key.name, path)
        .show(visit))
}
