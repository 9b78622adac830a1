//! Secrets of Vault's KV store, as `vault kv get -format=json` and exporters write them: one secret (version 1 or 2 of the engine), a list of
//! these with their paths, or a map of paths. A secret is one credential, whatever fields it has.

use keyward_domain::credential::Kind;

use super::kinds::{by_fields, copy};
use super::source::{Fault, Place};
use super::tree::{Node, Shape, Visits};
use super::{Found, Held};

/// What an answer of Vault has beside the data.
const ENVELOPE: [&str; 12] = [
    "request_id",
    "lease_id",
    "lease_duration",
    "renewable",
    "data",
    "metadata",
    "warnings",
    "wrap_info",
    "auth",
    "mount_type",
    "mount_point",
    "path",
];

/// Whether a document can only be an answer of Vault, or a list of these.
pub fn is_certain(root: &Node) -> bool {
    match &root.shape {
        Shape::List(elements) => {
            !elements.is_empty()
                && elements.iter().all(|one| answer(one).is_some() && one.member("path").is_some())
        }
        _ => {
            answer(root).is_some()
                && (root.member("request_id").is_some() || root.member("lease_id").is_some())
        }
    }
}

/// The secrets of an export; `stem` is the name of its file, for a secret that does not say its path.
///
/// # Errors
/// It is none of what is said above.
pub fn read(root: &Node, stem: Option<&str>) -> Result<Vec<Found>, Fault> {
    let mut visits = Visits::default();
    let mut found = Vec::new();
    match &root.shape {
        Shape::List(elements) => {
            for element in elements {
                let (Some(data), Some(path)) = (answer(element), element.member("path").and_then(Node::text))
                else {
                    let what = "no secret with its path; expected `{\"path\": \"...\", \"data\": {...}}`";
                    return Err(Fault::new(element.place, what));
                };
                found.push(secret(element.place, path.expose(), data, &mut visits)?);
            }
        }
        Shape::Map(members) => match answer(root) {
            Some(data) => {
                let path = root.member("path").and_then(Node::text).map(|path| path.expose());
                let Some(path) = path.or(stem) else {
                    let what = "the secret does not say its path; save it in a file of its name";
                    return Err(Fault::new(root.place, what));
                };
                found.push(secret(root.place, path, data, &mut visits)?);
            }
            None => {
                for member in members {
                    let data = answer(&member.node).unwrap_or(&member.node);
                    found.push(secret(member.place, &member.name, data, &mut visits)?);
                }
            }
        },
        _ => return Err(Fault::new(root.place, "no export of Vault's KV store; expected a map or a list")),
    }
    Ok(found)
}

/// The data of an answer of Vault: below `data`, and with version 2 of the engine below its `data`.
fn answer(node: &Node) -> Option<&Node> {
    let is_known = node.members()?.iter().all(|member| ENVELOPE.contains(&member.name.as_str()));
    let data = node.member("data").filter(|_| is_known)?;
    let members = data.members()?;
    let is_second =
        members.len() == 2 && data.member("metadata").is_some_and(|metadata| metadata.members().is_some());
    if is_second { data.member("data") } else { Some(data) }
}

fn secret(place: Place, path: &str, data: &Node, visits: &mut Visits) -> Result<Found, Fault> {
    let held = match &data.shape {
        Shape::Null => Held::Nothing("its newest version is deleted"),
        Shape::Map(members) => match (by_fields(members), members.as_slice()) {
            (Some(held), _) => held,
            (None, []) => Held::Nothing("it is empty"),
            (None, [one]) if one.node.text().is_some() => {
                one.node.text().map_or(Held::Nothing("it is empty"), |text| Held::of_text(copy(text)))
            }
            (None, _) => {
                let json = data.to_json(visits);
                let json =
                    json.ok_or_else(|| Fault::new(place, "too much is meant by aliases; write it out"))?;
                Held::Fields(Kind::Opaque, vec![("value", json)])
            }
        },
        _ => return Err(Fault::new(place, "no fields here; expected the data of a secret, as a map")),
    };
    Ok(Found { place, path: vec![path.to_owned()], description: String::new(), held })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::json;

    fn told(text: &str) -> Vec<String> {
        let node = json::read(text).expect("JSON");
        let all = read(&node, Some("stem")).expect("reads");
        let told = all.into_iter().map(|one| {
            let held = match one.held {
                Held::Text(text) => text.expose().to_owned(),
                Held::Fields(kind, fields) => {
                    let fields = fields.iter().map(|(name, text)| format!("{name}={}", text.expose()));
                    format!("{} {}", kind.as_str(), fields.collect::<Vec<_>>().join(" "))
                }
                Held::Nothing(why) => format!("<{why}>"),
                Held::Unfit(what) => format!("<<{what}>>"),
            };
            format!("{} {held}", one.path.join("/"))
        });
        told.collect()
    }

    #[test]
    fn an_answer_of_either_version_is_one_secret() {
        let first = r#"{"request_id":"1","lease_id":"","renewable":false,"lease_duration":2764800,"data":{"username":"shop","password":"hush"},"warnings":null}"#;
        let second = r#"{"request_id":"1","lease_id":"","data":{"data":{"token":"hush"},"metadata":{"created_time":"2026-01-01T00:00:00Z","version":3}},"mount_type":"kv"}"#;
        let deleted = r#"{"request_id":"1","data":{"data":null,"metadata":{"version":3}}}"#;
        assert_eq!(told(first), ["stem basic username=shop password=hush"]);
        assert_eq!(told(second), ["stem hush"]);
        assert_eq!(told(deleted), ["stem <its newest version is deleted>"]);
        for text in [first, second, deleted] {
            assert!(is_certain(&json::read(text).expect("JSON")));
        }
        assert!(!is_certain(&json::read(r#"{"data":{"a":"b"}}"#).expect("JSON")));
    }

    #[test]
    fn lists_and_maps_of_secrets_have_their_paths() {
        let list = r#"[{"path":"secret/shop/db","data":{"data":{"a":"1","b":2},"metadata":{}}},{"path":"kv/x","data":{"client_id":"i","client_secret":"s"}}]"#;
        assert_eq!(
            told(list),
            [
                "secret/shop/db opaque value={\"a\":\"1\",\"b\":2}",
                "kv/x oauth-client client_id=i client_secret=s"
            ]
        );
        assert!(is_certain(&json::read(list).expect("JSON")));
        let map = r#"{"shop/db":{"username":"shop","password":"hush"},"shop/psp":{"data":{"data":{"key":"k"},"metadata":{"version":1}}},"shop/none":{}}"#;
        assert_eq!(
            told(map),
            ["shop/db basic username=shop password=hush", "shop/psp k", "shop/none <it is empty>"]
        );
        let node = json::read("[{\"data\":{\"a\":\"hush\"}}]").expect("JSON");
        let fault = read(&node, None).err().expect("refused");
        assert!(fault.what.contains("path") && !fault.what.contains("hush"));
    }
}
