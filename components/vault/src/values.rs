//! What credentials hold, on the wire: handed out signed to whoever may read it, written, gone back to, destroyed.

use crate::credentials::about;
use keyward_control::{Plane, created, fresh_or_replayed, signed, waiting};
use keyward_domain::credential::BODY_BYTES_MAX;
use keyward_domain::event::{Action, Target};
use keyward_domain::{ApplicationId, CredentialId, Error, Result};
use keyward_guest::query::Query;
use keyward_guest::variables::Minting;
use keyward_guest::{Incoming, Response};
use keyward_service::{Answer, Reason, WhichCredential};

const VERSION: &str = "version";

pub(crate) async fn write(plane: &Plane, incoming: &Incoming, id: Result<CredentialId>) -> Result<Response> {
    plane
        .change(incoming, Action::CredentialWritten, about(&id), async |service, attempt| {
            let id = id?;
            let new = incoming.json_of(BODY_BYTES_MAX).await?;
            Ok(created(&service.write_credential(attempt, id, new).await?))
        })
        .await
}

pub(crate) async fn read(
    plane: &Plane,
    minting: &Minting,
    incoming: &Incoming,
    id: CredentialId,
) -> Result<Response> {
    let query = incoming.query()?;
    query.only(&[VERSION, waiting::WAIT_S])?;
    hand_out(plane, minting, incoming, query, WhichCredential::Id(id)).await
}

pub(crate) async fn read_named(plane: &Plane, minting: &Minting, incoming: &Incoming) -> Result<Response> {
    let query = incoming.query()?;
    query.only(&["application", "name", VERSION, waiting::WAIT_S])?;
    let Some(name) = query.one("name")? else {
        return Err(Error::parameter("name", "is missing", "the name of a credential"));
    };
    let application = query.parsed::<ApplicationId>("application", "an application's id")?;
    hand_out(plane, minting, incoming, query, WhichCredential::Name(application, name)).await
}

async fn hand_out(
    plane: &Plane,
    minting: &Minting,
    incoming: &Incoming,
    query: &Query,
    which: WhichCredential<'_>,
) -> Result<Response> {
    let version = query.parsed::<u32>(VERSION, "the number of a version")?;
    let wait_s = waiting::wait_s(query)?;
    let target = match which {
        WhichCredential::Id(id) => Target::credential(Some(id)),
        WhichCredential::Name(application, _) => Target::application(application),
    };
    if let Some(seen) = incoming.if_none_match() {
        let changed = plane
            .fetch(incoming, Action::CredentialRead, target, async |service, attempt| {
                service.credential_changed(attempt, which, seen, wait_s).await
            })
            .await?;
        if !changed {
            return Ok(Response::empty(304).with_revision(seen));
        }
    }
    // Whoever waited is looked at once more: their key may have been revoked meanwhile.
    let response = plane
        .fetch(incoming, Action::CredentialRead, target, async |service, attempt| {
            let read = service.read_credential(attempt, which, version).await?;
            let revision = read.revision();
            Ok(fresh_or_replayed(200, &Answer::Fresh(read)).with_revision(revision))
        })
        .await?;
    signed(plane, minting, incoming, response)
}

pub(crate) async fn roll_back(
    plane: &Plane,
    incoming: &Incoming,
    id: Result<CredentialId>,
) -> Result<Response> {
    plane
        .change(incoming, Action::CredentialRolledBack, about(&id), async |service, attempt| {
            let id = id?;
            let answer = service.roll_credential_back(attempt, id, &incoming.json().await?).await?;
            let response = fresh_or_replayed(200, &answer);
            Ok(match answer {
                Answer::Fresh(view) => response.with_revision(view.revision),
                Answer::Replayed(_) => response,
            })
        })
        .await
}

pub(crate) async fn destroy(
    plane: &Plane,
    incoming: &Incoming,
    id: Result<CredentialId>,
    version: Result<u32>,
) -> Result<Response> {
    plane
        .change(incoming, Action::CredentialDestroyed, about(&id), async |service, attempt| {
            let (id, version) = (id?, version?);
            let Reason { reason } = incoming.json().await?;
            let view = service.destroy_credential_version(attempt, id, version, &reason).await?;
            Ok(Response::json(200, &view)?.with_revision(view.revision))
        })
        .await
}
