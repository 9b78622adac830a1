//! What an administrator does again and again, in few words.

use keyward_domain::KeyId;
use serde_json::{Value, json};

use crate::http::{Reply, Request};
use crate::keyward::Keyward;

/// The id of the built-in application.
pub const KEYWARD_APPLICATION: &str = "app_0000000000000000000000";

/// A key that was issued and not claimed yet.
#[derive(Clone, Debug)]
pub struct Issued {
    /// Its id.
    pub id: String,
    /// Its claim's id.
    pub claim: String,
    /// Its claim's ticket.
    pub ticket: String,
}

/// A key whose token somebody holds.
#[derive(Clone, Debug)]
pub struct Holder {
    /// The key's id.
    pub id: String,
    /// The token.
    pub token: String,
    /// The renewal token; empty where the key does not renew itself.
    pub renewal: String,
}

impl Holder {
    /// Out of the answer to `POST /v1/claims` or `POST /v1/self/renew`.
    pub fn of(reply: &Reply) -> Self {
        Self {
            id: reply.text_at("/key/id"),
            token: reply.text_at("/token"),
            renewal: reply.json()["renewal_token"].as_str().unwrap_or_default().to_owned(),
        }
    }
}

impl Issued {
    /// Out of the answer to `POST /v1/keys`.
    pub fn of(reply: &Reply) -> Self {
        Self {
            id: reply.text_at("/key/id"),
            claim: reply.text_at("/claim/id"),
            ticket: reply.text_at("/claim/ticket"),
        }
    }
}

/// The body of `POST /v1/keys` for a live key with these scopes.
pub fn new_key(application: &str, scopes: &[&str]) -> Value {
    json!({ "application": application, "name": "orders", "environment": "live", "scopes": scopes })
}

/// The body of `POST /v1/webhooks` for one that leads nowhere: no name ends in `.invalid` (RFC 6761).
pub fn new_webhook(application: &str) -> Value {
    json!({ "application": application, "url": "https://hooks.invalid/", "events": ["*"] })
}

/// The body of `POST /v1/credentials` for one of kind `opaque`.
pub fn new_credential(application: &str, name: &str) -> Value {
    json!({ "application": application, "name": name, "kind": "opaque", "value": { "value": "what it holds" } })
}

/// `GET /v1/authorize` with this query.
pub fn authorize(token: &str, query: &str) -> Request {
    Request::get(&format!("/v1/authorize{query}")).bearer(token)
}

/// `POST /v1/claims`.
pub fn claim(ticket: &str) -> Request {
    Request::post("/v1/claims", &json!({ "ticket": ticket }))
}

/// `POST /v1/keys/{id}/revoke`.
pub fn revoke(id: &str) -> Request {
    Request::post(&format!("/v1/keys/{id}/revoke"), &json!({ "reason": "no longer needed" }))
}

/// Which part of a store key names this key.
pub fn hex_of(id: &str) -> String {
    id.parse::<KeyId>().expect("a key's id").hex()
}

impl Keyward {
    /// Creates an application; its id.
    pub fn application(&self, name: &str) -> String {
        self.as_root(Request::post("/v1/applications", &json!({ "name": name }))).expect(201).text_at("/id")
    }

    /// Creates a webhook of an application that leads nowhere; its id.
    pub fn webhook(&self, application: &str) -> String {
        let created = self.as_root(Request::post("/v1/webhooks", &new_webhook(application)));
        created.expect(201).text_at("/webhook/id")
    }

    /// Creates a credential of an application; its id.
    pub fn credential(&self, application: &str, name: &str) -> String {
        let new = new_credential(application, name);
        self.as_root(Request::post("/v1/credentials", &new)).expect(201).text_at("/id")
    }

    /// Creates a policy with these terms; its id.
    pub fn policy(&self, name: &str, terms: &Value) -> String {
        let mut policy = terms.clone();
        policy["name"] = name.into();
        self.as_root(Request::post("/v1/policies", &policy)).expect(201).text_at("/id")
    }

    /// Issues a live key.
    pub fn issue(&self, application: &str, scopes: &[&str]) -> Issued {
        Issued::of(&self.as_root(Request::post("/v1/keys", &new_key(application, scopes))).expect(201))
    }

    /// Claims it.
    pub fn claim(&self, issued: &Issued) -> Holder {
        Holder::of(&self.send(claim(&issued.ticket)).expect(200))
    }

    /// Offers a successor of a key's version.
    pub fn rotate(&self, id: &str, asked: &Value) -> Issued {
        Issued::of(&self.as_root(Request::post(&format!("/v1/keys/{id}/rotate"), asked)).expect(201))
    }

    /// Issues a live key and claims it.
    pub fn holder(&self, application: &str, scopes: &[&str]) -> Holder {
        self.claim(&self.issue(application, scopes))
    }

    /// Issues and claims a key of `keyward` with these scopes.
    pub fn admin(&self, principal: &str, scopes: &[&str]) -> Holder {
        let mut key = new_key(KEYWARD_APPLICATION, scopes);
        key["principal"] = principal.into();
        key["name"] = principal.into();
        self.claim(&Issued::of(&self.as_root(Request::post("/v1/keys", &key)).expect(201)))
    }

    /// The status of `GET /v1/authorize` for this token.
    pub fn authorizes(&self, token: &str) -> u16 {
        self.send(authorize(token, "")).status
    }

    /// Every event that this query finds, newest first, over all pages.
    pub fn events(&self, query: &str) -> Vec<Value> {
        self.list(&format!("/v1/audit/events?limit=100&{query}"))
    }

    /// Every item of a list, over all pages; `target` has a query.
    pub fn list(&self, target: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut cursor = String::new();
        loop {
            let page = self.as_root(Request::get(&format!("{target}{cursor}"))).expect(200).json();
            items.extend(page["items"].as_array().unwrap().iter().cloned());
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return items,
            }
        }
    }
}
