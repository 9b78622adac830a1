//! `keyward key rotate|finish-rotation|cancel-rotation`.

use serde_json::json;

use super::Run;
use super::key::card;
use crate::answers::{Issued, Key};
use crate::arguments::{KeyRevoke, KeyRotate};
use crate::client::Call;
use crate::failure::{Ending, Result};

impl Run<'_> {
    pub(super) fn rotate_key(&self, options: &KeyRotate) -> Result<Ending> {
        let mut body = json!({ "reason": options.reason });
        if let Some(members) = body.as_object_mut() {
            if options.incident {
                members.insert("mode".to_owned(), json!("incident"));
            }
            if let Some(grace_s) = options.grace {
                members.insert("grace_s".to_owned(), json!(grace_s));
            }
            if let Some(version) = options.version {
                members.insert("version".to_owned(), json!(version));
            }
        }
        let call = Call::post(format!("/v1/keys/{}/rotate", options.id), &body)?.creating()?;
        let answer = self.client()?.call(&call)?;
        let issued: Issued = answer.read()?;
        self.show_issued(&answer, &issued)
    }

    /// Ends a rotation one way or the other: `finish` or `cancel`.
    pub(super) fn end_rotation(&self, options: &KeyRevoke, how: &str) -> Result<Ending> {
        let route = format!("/v1/keys/{}/rotation/{how}", options.id);
        let answer = self.client()?.call(&Call::post(route, &json!({ "reason": options.reason }))?)?;
        self.show(&answer, || Ok(card(&answer.read::<Key>()?).render(self.terminal.styles())))
    }
}
