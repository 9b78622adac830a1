//! The document is what the components do: its snapshot is up to date, its routes are those of the components' tables.

#![allow(clippy::expect_used, reason = "the whole file is tests")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Answered by hand, before any table.
const WITHOUT_TABLE: &str = "GET /v1/authorize";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn the_snapshot_is_up_to_date() {
    let kept = std::fs::read_to_string(root().join("docs/openapi.json")).expect("a snapshot");
    let made = keyward_api::snapshot().expect("serializes");
    let differs = kept.lines().zip(made.lines()).enumerate().find(|(_, (kept, made))| kept != made);
    assert!(
        kept == made,
        "docs/openapi.json is not what the types say (first difference: {differs:?}); run `cargo xtask openapi` and look at the diff: \
         what clients rely on may not change"
    );
}

/// The routes in a component's tables, as in `GET /v1/keys`: read from the source, since components are no libraries.
fn routes_in(source: &str) -> Vec<String> {
    let mut routes = Vec::new();
    for made in source.split("Route::").skip(1) {
        let Some((method, rest)) = made.split_once('(') else { continue };
        let Some(pattern) = rest.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next())
        else {
            continue;
        };
        // The document has no word for a parameter that spans segments.
        routes.push(format!("{} {}", method.to_uppercase(), pattern.replace("...}", "}")));
    }
    routes
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] }).collect()
}

#[test]
fn its_routes_are_those_of_the_components() {
    let mut served = BTreeSet::from([WITHOUT_TABLE.to_owned()]);
    for path in sources(&root().join("components")) {
        if path.extension().is_some_and(|ending| ending == "rs") {
            served.extend(routes_in(&std::fs::read_to_string(&path).expect("a source")));
        }
    }
    // Pages are for people: nobody is promised their routes.
    served.retain(|route| !route.contains(" /dashboard"));
    assert!(served.len() > 20, "the tables were found: {served:?}");
    let described: Vec<String> = keyward_api::endpoints().iter().map(keyward_api::Endpoint::line).collect();
    let distinct: BTreeSet<String> = described.iter().cloned().collect();
    assert_eq!(distinct.len(), described.len(), "each once");
    assert_eq!(distinct, served, "left: described; right: served");
}

#[test]
fn every_operation_has_a_name_of_its_own_and_every_reference_leads_somewhere() {
    let document = serde_json::to_value(keyward_api::document()).expect("serializes");
    let (mut names, mut references) = (Vec::new(), BTreeSet::new());
    visit(&document, &mut |name, value| match (name, value.as_str()) {
        ("operationId", Some(id)) => names.push(id.to_owned()),
        ("$ref", Some(place)) => drop(references.insert(place.to_owned())),
        _ => {}
    });
    assert_eq!(names.len(), keyward_api::endpoints().len());
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
    for reference in references {
        let place = reference.strip_prefix('#').expect("within the document");
        assert!(document.pointer(place).is_some(), "{reference}");
    }
}

fn visit(value: &serde_json::Value, look: &mut impl FnMut(&str, &serde_json::Value)) {
    match value {
        serde_json::Value::Object(fields) => {
            for (name, value) in fields {
                look(name, value);
                visit(value, look);
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| visit(item, look)),
        _ => {}
    }
}

/// The parameters that an operation refers to, by name.
fn shared_parameters(operation: &serde_json::Value) -> Vec<&str> {
    let parameters = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
    parameters.iter().filter_map(|parameter| parameter["$ref"].as_str()?.rsplit('/').next()).collect()
}

#[test]
fn what_creates_takes_an_idempotency_key_and_what_changes_takes_if_match() {
    let document = serde_json::to_value(keyward_api::document()).expect("serializes");
    let (mut creating, mut changing) = (0, 0);
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let taken = shared_parameters(operation);
            let answers = operation["responses"].as_object().expect("responses");
            if answers.contains_key("201") {
                assert!(taken.contains(&"Idempotency-Key"), "{method} {path} creates");
                creating += 1;
            }
            if taken.contains(&"Idempotency-Key") {
                let answered: Vec<_> =
                    ["409", "422"].iter().filter(|status| answers.contains_key(**status)).collect();
                assert_eq!(answered.len(), 2, "{method} {path} says what a second request is told");
            }
            assert_eq!(method == "patch", taken.contains(&"If-Match"), "{method} {path}");
            changing += usize::from(method == "patch");
        }
    }
    assert!(creating >= 4 && changing >= 3, "{creating} create, {changing} change");
}
