//! JSON and YAML as people keep secrets in them: maps of maps, whose names joined by `/` are the names. A map with exactly the fields of a
//! kind is one credential; every text, number and truth value beside those is one.

use super::kinds::{by_fields, copy};
use super::source::Fault;
use super::tree::{Member, Node, Shape, Visits};
use super::{Found, Held};

/// The secrets of a document.
///
/// # Errors
/// It is no map, or means more than may be visited.
pub fn read(root: &Node) -> Result<Vec<Found>, Fault> {
    if root.members().is_none() {
        return Err(Fault::new(
            root.place,
            "no map of names; expected `{\"NAME\": \"VALUE\"}` or `NAME: VALUE`",
        ));
    }
    let mut walk = Walk { found: Vec::new(), visits: Visits::default(), path: Vec::new() };
    walk.node(root, None)?;
    Ok(walk.found)
}

struct Walk {
    found: Vec<Found>,
    visits: Visits,
    path: Vec<String>,
}

impl Walk {
    /// Goes through what lies below a node, which stands where `member` does, if it has a name.
    fn node(&mut self, node: &Node, member: Option<&Member>) -> Result<(), Fault> {
        let place = member.map_or(node.place, |member| member.place);
        self.visits.count().ok_or_else(|| Fault::new(place, "too much is meant by aliases; write it out"))?;
        let held = match &node.shape {
            Shape::Map(members) => match by_fields(members).filter(|_| member.is_some()) {
                Some(held) => held,
                None => {
                    for member in members {
                        self.below(member.name.clone(), &member.node, Some(member))?;
                    }
                    return Ok(());
                }
            },
            Shape::List(elements) => {
                for (index, element) in elements.iter().enumerate() {
                    self.below(index.to_string(), element, member)?;
                }
                return Ok(());
            }
            Shape::Scalar(_, text) => Held::of_text(copy(text)),
            Shape::Null => Held::Nothing("it is null"),
        };
        self.found.push(Found { place, path: self.path.clone(), description: String::new(), held });
        Ok(())
    }

    fn below(&mut self, name: String, node: &Node, member: Option<&Member>) -> Result<(), Fault> {
        self.path.push(name);
        self.node(node, member)?;
        self.path.pop();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::{json, yaml};

    fn told(node: &Node) -> Vec<String> {
        let all = read(node).expect("reads");
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
            format!("{} {} {held}", one.place, one.path.join("/"))
        });
        told.collect()
    }

    #[test]
    fn names_are_joined_and_maps_of_fields_are_kinds() {
        let yaml = "\
stripe:
  live: sk_1
  ports: [1, 2]
db: {username: shop, password: hush}
oauth:
  client_id: a
  client_secret: b
tls: {certificate: C, private_key: K}
half: {username: shop}
empty: ''
none:
";
        let expected = [
            "2:3 stripe/live sk_1",
            "3:3 stripe/ports/0 1",
            "3:3 stripe/ports/1 2",
            "4:1 db basic username=shop password=hush",
            "5:1 oauth oauth-client client_id=a client_secret=b",
            "8:1 tls certificate certificate=C private_key=K",
            "9:8 half/username shop",
            "10:1 empty <it is empty>",
            "11:1 none <it is null>",
        ];
        assert_eq!(told(&yaml::read(yaml).expect("YAML")), expected);
        let json =
            json::read("{\"db\": {\"username\": \"shop\", \"password\": \"hush\"}, \"a\": 1}").expect("JSON");
        assert_eq!(told(&json), ["1:8 db basic username=shop password=hush", "1:55 a 1"]);
        assert!(read(&json::read("[1]").expect("JSON")).is_err());
    }

    #[test]
    fn a_few_lines_that_mean_very_much_are_refused() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for n in 1..20 {
            text.push_str(&format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 10].join(", ")));
        }
        assert!(read(&yaml::read(&text).expect("YAML")).err().expect("refused").what.contains("aliases"));
    }
}
