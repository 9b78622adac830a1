//! What a server says of Keyward's tokens that were found, and their end. Each token goes to the server that the command line names, in
//! the body of a call, and nowhere else.

use std::collections::BTreeMap;

use keyward_domain::error::Code;
use serde::Serialize;
use serde_json::json;

use super::finding::{Finding, Life};
use super::own::Kind;
use crate::answers::{Key, LookedUp, Revocation};
use crate::client::{Answer, Call, Client};
use crate::escape::shown;
use crate::failure::{Failure, Result};
use crate::{Global, Terminal};

/// What is to become of the keys whose tokens were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End<'a> {
    /// Nothing: it is asked how they stand.
    None,
    /// Revoked by an admin, for this reason.
    Revoke(&'a str),
    /// Reported: the token itself is the proof, and nobody's credential is needed.
    Report,
}

#[derive(Serialize)]
struct Presented<'a> {
    token: &'a str,
}

/// Asks about each token that was found, and ends the keys of those that live. `agreed` says of each whether it is to be.
///
/// # Errors
/// The server cannot be asked, or refuses.
pub fn settle(
    global: &Global,
    findings: &mut [Finding],
    end: End<'_>,
    mut agreed: impl FnMut(&str) -> Result<bool>,
    terminal: &Terminal,
) -> Result<()> {
    let mut all: BTreeMap<[u8; 32], Vec<&mut Finding>> = BTreeMap::new();
    for finding in findings.iter_mut().filter(|finding| is_asked_about(finding, end)) {
        all.entry(finding.identity).or_default().push(finding);
    }
    if all.is_empty() {
        return Ok(());
    }
    let client = match end {
        End::Report => Client::anonymous(global, None, terminal)?,
        End::None | End::Revoke(_) => Client::with_credential(global, terminal)?,
    };
    // In the order in which people read of them.
    let mut all: Vec<Vec<&mut Finding>> = all.into_values().collect();
    all.sort_by(|one, other| first(one).cmp(&first(other)));
    for mut same in all {
        let Some(one) = same.first() else { continue };
        let told = described(one, same.len());
        let life = match end {
            End::None => life(&client, one)?,
            End::Report => match agreed(&format!("Report {told}, which ends its key?"))? {
                true => reported(&client, one)?,
                false => continue,
            },
            End::Revoke(reason) => {
                let life = life(&client, one)?;
                let whose = life.key.as_ref().map_or_else(String::new, |(application, name)| {
                    format!(" (`{}` of {application})", shown(name))
                });
                match life.is_alive && agreed(&format!("Revoke the key of {told}{whose}?"))? {
                    true => revoked(&client, one, life, reason)?,
                    false => life,
                }
            }
        };
        for finding in &mut same {
            // Whatever is dead for good is no danger where it lies.
            finding.is_settled = life.is_over();
            finding.life = Some(life.clone());
        }
    }
    Ok(())
}

fn first<'f>(same: &'f [&mut Finding]) -> Option<(&'f str, usize)> {
    same.first().map(|finding| (finding.path.as_str(), finding.place.line))
}

fn is_asked_about(finding: &Finding, end: End<'_>) -> bool {
    match finding.token.as_ref().map(|token| token.kind) {
        Some(Kind::Token) => true,
        // It is no proof of a key, but names it.
        Some(Kind::Renewal) => end != End::Report,
        // Over within minutes, and whose it is it does not say.
        Some(Kind::Ticket) | None => false,
    }
}

/// What people are asked about.
fn described(finding: &Finding, places: usize) -> String {
    let key =
        finding.token.as_ref().and_then(|token| token.key).map_or_else(String::new, |key| key.to_string());
    let more = if places > 1 { format!(" and {} more", places.saturating_sub(1)) } else { String::new() };
    format!("{key} in {}:{}{more}", shown(&finding.path), finding.place.line)
}

/// How the key of a token stands.
fn life(client: &Client, finding: &Finding) -> Result<Life> {
    let Some(token) = &finding.token else { return Ok(Life::unknown()) };
    let (key, version) = match (token.kind, token.key) {
        (Kind::Token, _) => {
            let answer = client.ask(&Call::post("/v1/keys/lookup", &presented(finding)?)?)?;
            let Some(found) = read::<LookedUp>(&answer)? else { return Ok(Life::unknown()) };
            (found.key, Some(found.version))
        }
        (_, Some(id)) => {
            let answer = client.ask(&Call::get(format!("/v1/keys/{id}")))?;
            let Some(key) = read::<Key>(&answer)? else { return Ok(Life::unknown()) };
            (key, None)
        }
        (_, None) => return Ok(Life::unknown()),
    };
    let of_version = version.and_then(|number| key.versions.iter().find(|one| one.version == number));
    let is_version_over = of_version.is_some_and(|one| matches!(one.state.as_str(), "retired" | "revoked"));
    let state = match of_version {
        Some(one) if is_version_over && key.state == "active" => format!("version {}", one.state),
        _ => key.state.clone(),
    };
    Ok(Life {
        is_alive: key.state == "active" && !is_version_over,
        state,
        key: Some((key.application, key.name)),
    })
}

fn revoked(client: &Client, finding: &Finding, life: Life, reason: &str) -> Result<Life> {
    let Some(id) = finding.token.as_ref().and_then(|token| token.key) else { return Ok(life) };
    let call = Call::post(format!("/v1/keys/{id}/revoke"), &json!({ "reason": reason }))?;
    client.call(&call)?.read::<Revocation>()?;
    Ok(Life { is_alive: false, state: "revoked".to_owned(), ..life })
}

fn reported(client: &Client, finding: &Finding) -> Result<Life> {
    let answer = client.ask(&Call::post("/v1/revocations", &presented(finding)?)?)?;
    let over = Life { is_alive: false, state: "revoked".to_owned(), key: None };
    if !is_success(&answer) && Failure::from_answer(&answer).is_of(Code::Revoked) {
        return Ok(over);
    }
    Ok(read::<Revocation>(&answer)?.map_or_else(Life::unknown, |_| over))
}

fn presented(finding: &Finding) -> Result<Presented<'_>> {
    let token = std::str::from_utf8(&finding.secret).map_err(|error| Failure::system("token", error))?;
    Ok(Presented { token })
}

/// What an answer holds; nothing where there is no such thing.
fn read<T: serde::de::DeserializeOwned>(answer: &Answer) -> Result<Option<T>> {
    match is_success(answer) {
        true => answer.read().map(Some),
        false => match Failure::from_answer(answer) {
            failure if failure.is_of(Code::NotFound) => Ok(None),
            failure => Err(failure),
        },
    }
}

const fn is_success(answer: &Answer) -> bool {
    matches!(answer.status, 200..=299)
}
