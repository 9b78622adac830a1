//! The house's floors as data, and the check that every crate stands on those below it.
//! Pure over `cargo metadata` and source text: it builds nothing and forgives nothing; an exception is a line of data here.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use anyhow::Context;

use crate::build;
use crate::metadata::{Follow, Workspace};
use crate::steps;

/// Crates that stand side by side: each may depend on those of lower floors, on none beside or above it.
struct Floor {
    crates: &'static [&'static str],
    reason: &'static str,
}

/// Bottom up.
const FLOORS: &[Floor] = &[
    Floor { crates: &["keyward-domain"], reason: "words and rules stand on nothing of ours" },
    Floor { crates: &["keyward-crypto"], reason: "seals and signs what domain names, and knows no store" },
    Floor { crates: &["keyward-records"], reason: "how to read the store: it cannot know how one writes" },
    Floor {
        crates: &["keyward-verify", "keyward-ledger"],
        reason: "the hot path reads and the audited commit writes: neither knows of the other",
    },
    Floor { crates: &["keyward-service"], reason: "the use cases, generic over what Wasm brings" },
    Floor { crates: &["keyward-guest"], reason: "what every component shares in Wasm" },
    Floor { crates: &["keyward-control"], reason: "what the components that write share on top of it" },
    Floor { crates: &build::COMPONENTS, reason: "components stand apart: they share the store, not code" },
];

/// Crates beside the floors and the crates of ours that each may name, tests included.
struct Beside {
    name: &'static str,
    may: &'static [&'static str],
    reason: &'static str,
}

const BESIDE: &[Beside] = &[
    Beside {
        name: "keyward-host",
        may: &[],
        reason: "the host runs any Spin application and knows nothing of Keyward",
    },
    Beside {
        name: "keyward-cli",
        may: &[
            "keyward-domain",
            "keyward-crypto",
            "keyward-records",
            "keyward-ledger",
            "keyward-service",
            "keyward-auditor",
            "keyward-client",
            "keyward-host",
        ],
        reason: "the command stands outside Wasm: what a state directory's owner does runs on the store itself, all else is HTTP",
    },
    Beside {
        name: "keyward-client",
        may: &["keyward-crypto"],
        reason: "what services of others link knows how answers are signed, and nothing of who gives them",
    },
    Beside {
        name: "keyward-auditor",
        may: &["keyward-domain", "keyward-crypto", "keyward-records", "keyward-ledger"],
        reason: "whoever checks the log knows its format and how lists follow from it, and nobody who serves it",
    },
    Beside {
        name: "keyward-sim",
        may: &[
            "keyward-domain",
            "keyward-crypto",
            "keyward-records",
            "keyward-verify",
            "keyward-ledger",
            "keyward-service",
            "keyward-auditor",
        ],
        reason: "the simulator runs all that is native, and nothing runs on it",
    },
    Beside {
        name: "keyward-api",
        may: &["keyward-domain", "keyward-verify", "keyward-service"],
        reason: "the document is made of the types on the wire, and of nothing that runs in Wasm",
    },
    Beside {
        name: "keyward-e2e",
        may: &["keyward-domain", "keyward-crypto"],
        reason: "end-to-end tests see what a caller sees",
    },
    Beside { name: "xtask", may: &[], reason: "the door compiles before anything else does" },
    Beside {
        name: "bench-loader",
        may: &["keyward-domain", "keyward-crypto", "keyward-records", "keyward-ledger", "keyward-cli"],
        reason: "it writes as the ledger does into a state directory as the command makes it",
    },
    Beside {
        name: "bench-hello",
        may: &[],
        reason: "a floor to measure against holds nothing of what is measured",
    },
    Beside {
        name: "bench-three-read",
        may: &[],
        reason: "a floor to measure against holds nothing of what is measured",
    },
    Beside { name: "probe", may: &[], reason: "the host's test component is any Spin component" },
    Beside {
        name: "kv-conformance",
        may: &["keyward-guest", "keyward-control", "keyward-ledger"],
        reason: "a test component that looks at the store as the control plane does, and at nothing else",
    },
];

/// What must not be reachable from where, however many crates lie between.
struct Unreachable {
    from: &'static [&'static str],
    /// Names of packages; one that ends in `*` stands for all that begin so.
    never: &'static [&'static str],
    reason: &'static str,
}

const NATIVE_FLOORS: &[&str] = &[
    "keyward-domain",
    "keyward-crypto",
    "keyward-records",
    "keyward-verify",
    "keyward-ledger",
    "keyward-service",
];

const UNREACHABLE: &[Unreachable] = &[
    Unreachable {
        from: &["validation", "keyward-verify", "keyward-guest"],
        never: &["keyward-ledger", "keyward-service", "keyward-control"],
        reason: "validation cannot reach code that writes records",
    },
    Unreachable {
        from: NATIVE_FLOORS,
        never: &[
            "spin-*",
            "wit-bindgen*",
            "wasip2",
            "wasip3",
            "wasmtime*",
            "tokio*",
            "hyper",
            "redis",
            "rusqlite",
        ],
        reason: "domain to service know nothing of Wasm, of a runtime or of a store's driver",
    },
    Unreachable {
        from: NATIVE_FLOORS,
        never: &["getrandom", "rand", "fastrand"],
        reason: "randomness comes in as a trait; only the outermost layer has the real one",
    },
    Unreachable {
        from: &["xtask"],
        never: &["wasmtime*", "spin-*"],
        reason: "the door compiles before anything else does",
    },
];

/// Text that must not stand in the sources of a crate, tests aside.
struct Unsaid {
    crates: &'static [&'static str],
    text: &'static [&'static str],
    reason: &'static str,
}

const UNSAID: &[Unsaid] = &[
    Unsaid {
        crates: NATIVE_FLOORS,
        text: &["SystemTime", "Instant::now", "now_utc", "now_local"],
        reason: "time comes in as a trait; only the outermost layer has the real one",
    },
    Unsaid {
        crates: NATIVE_FLOORS,
        text: &["std::fs", "std::net::Tcp", "std::net::Udp", "std::process", "std::env::", "println!"],
        reason: "domain to service do no I/O of their own",
    },
];

/// The word that the host's files do not hold, but in the host's own name.
const HOST: &str = "keyward-host";
const HOST_UNSAID: &str = "keyward";

/// One broken rule: what does so, and which.
#[derive(Debug, PartialEq, Eq)]
pub struct Violation {
    edge: String,
    rule: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.edge, self.rule)
    }
}

/// Every broken rule of the workspace as it lies on disk.
pub fn check(workspace: &Workspace) -> anyhow::Result<Vec<Violation>> {
    let mut broken = edges(workspace);
    for rule in UNSAID {
        for name in rule.crates {
            let Some(member) = workspace.member(name) else { continue };
            for (path, text) in sources(&member.folder.join("src"), &["rs"])? {
                broken.extend(unsaid(&path, &shipped(&path, &text), rule.text, rule.reason));
            }
        }
    }
    if let Some(host) = workspace.member(HOST) {
        for (path, text) in sources(&host.folder, &["rs", "toml", "wit", "md"])? {
            broken.extend(host_says(&path, &text));
        }
    }
    Ok(broken)
}

/// The rules on who depends on whom.
fn edges(workspace: &Workspace) -> Vec<Violation> {
    let floor_of: BTreeMap<&str, (usize, &Floor)> = FLOORS
        .iter()
        .enumerate()
        .flat_map(|(level, floor)| floor.crates.iter().map(move |name| (*name, (level, floor))))
        .collect();
    let mut broken = Vec::new();
    for member in workspace.members() {
        let name = member.name.as_str();
        let is_ours = |to: &&str| workspace.member(to).is_some() && *to != name;
        if let Some((level, floor)) = floor_of.get(name) {
            for to in workspace.direct(name, Follow::Shipped).filter(is_ours) {
                let stands_below = floor_of.get(to).is_some_and(|(below, _)| below < level);
                if !stands_below {
                    let place = match floor_of.get(to) {
                        Some((other, _)) if other == level => "beside it",
                        Some(_) => "above it",
                        None => "on no floor",
                    };
                    broken.push(Violation {
                        edge: format!("{name} -> {to}"),
                        rule: format!("{to} stands {place}; {}", floor.reason),
                    });
                }
            }
        } else if let Some(beside) = BESIDE.iter().find(|beside| beside.name == name) {
            for to in workspace.direct(name, Follow::All).filter(is_ours) {
                if !beside.may.contains(&to) {
                    broken
                        .push(Violation { edge: format!("{name} -> {to}"), rule: beside.reason.to_owned() });
                }
            }
        } else {
            broken.push(Violation {
                edge: name.to_owned(),
                rule: "a crate of the workspace has its place in xtask/src/floors.rs".to_owned(),
            });
        }
    }
    for rule in UNREACHABLE {
        let is_banned = |name: &String| {
            rule.never.iter().any(|never| match never.strip_suffix('*') {
                Some(start) => name.starts_with(start),
                None => name == never,
            })
        };
        for from in rule.from {
            for (to, way) in workspace.closure(from) {
                // One line for each cause: what lies behind a banned crate, or behind a crate that the rule holds for too,
                // is told there.
                let between = way.get(1..way.len().saturating_sub(1)).unwrap_or_default();
                let is_told_elsewhere =
                    between.iter().any(|name| is_banned(name) || rule.from.contains(&name.as_str()));
                if is_banned(&to) && !is_told_elsewhere {
                    broken.push(Violation { edge: way.join(" -> "), rule: rule.reason.to_owned() });
                }
            }
        }
    }
    broken
}

/// Files below `folder` with one of these extensions, but for build output.
fn sources(folder: &Path, extensions: &[&str]) -> anyhow::Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    if !folder.is_dir() {
        return Ok(found);
    }
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            if !path.ends_with("target") {
                found.extend(sources(&path, extensions)?);
            }
        } else if path.extension().is_some_and(|ending| extensions.iter().any(|wanted| ending == *wanted)) {
            let text =
                std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let shown = path.strip_prefix(steps::root()).unwrap_or(&path).display().to_string();
            found.push((shown, text));
        }
    }
    found.sort();
    Ok(found)
}

/// The lines that ship, with their numbers: no comment, no module for tests. Relies on rustfmt, which `lint` runs first:
/// a module's closing brace is as deep as the line that opens it.
fn shipped<'a>(path: &str, text: &'a str) -> Vec<(usize, &'a str)> {
    if path.ends_with("/tests.rs") || path.contains("/tests/") {
        return Vec::new();
    }
    let mut kept = Vec::new();
    let mut is_next_for_tests = false;
    let mut inside: Option<String> = None;
    for (index, line) in text.lines().enumerate() {
        let trimmed = line.trim_start();
        let depth = line.get(..line.len() - trimmed.len()).unwrap_or_default();
        if let Some(close) = &inside {
            if line == close {
                inside = None;
            }
        } else if trimmed.starts_with("#[cfg(test)]") {
            is_next_for_tests = true;
        } else if is_next_for_tests && trimmed.starts_with("#[") {
            // One more attribute of the same item.
        } else if is_next_for_tests {
            is_next_for_tests = false;
            if trimmed.ends_with('{') {
                inside = Some(format!("{depth}}}"));
            }
        } else if !trimmed.starts_with("//") {
            kept.push((index + 1, line));
        }
    }
    kept
}

fn unsaid(path: &str, lines: &[(usize, &str)], banned: &[&str], reason: &str) -> Vec<Violation> {
    let mut broken = Vec::new();
    for (number, line) in lines {
        for text in banned.iter().filter(|text| line.contains(**text)) {
            broken
                .push(Violation { edge: format!("{path}:{number} says `{text}`"), rule: reason.to_owned() });
        }
    }
    broken
}

/// The host's name is the one thing of ours that it carries: in its manifest, its program, its library.
fn host_says(path: &str, text: &str) -> Vec<Violation> {
    let mut broken = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let rest = line.to_lowercase().replace(HOST, "").replace(&HOST.replace('-', "_"), "");
        if rest.contains(HOST_UNSAID) {
            broken.push(Violation {
                edge: format!("{path}:{} says `{HOST_UNSAID}`", index + 1),
                rule: "the host runs any Spin application and knows nothing of Keyward".to_owned(),
            });
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    type Planted = (&'static [&'static str], &'static [&'static str], &'static [Edge], &'static str);
    type Edge = (&'static str, &'static str, Option<&'static str>);

    /// Made-up metadata: packages of the workspace, packages from outside, edges `(from, to, kind)`. `name@2` is a version of its
    /// own.
    fn workspace(members: &[&str], outside: &[&str], edges: &[Edge]) -> Workspace {
        let all = members.iter().chain(outside);
        let packages: Vec<_> = all
            .clone()
            .map(|name| json!({"id": format!("id:{name}"), "name": name.split('@').next(), "manifest_path": format!("/w/{name}/Cargo.toml"), "targets": [{"kind": ["lib"]}]}))
            .collect();
        let nodes: Vec<_> = all
            .map(|name| {
                let deps: Vec<_> = edges
                    .iter()
                    .filter(|(from, ..)| from == name)
                    .map(|(_, to, kind)| json!({"pkg": format!("id:{to}"), "dep_kinds": [{"kind": kind, "target": null}]}))
                    .collect();
                json!({"id": format!("id:{name}"), "deps": deps})
            })
            .collect();
        let ids: Vec<_> = members.iter().map(|name| format!("id:{name}")).collect();
        let text =
            json!({"packages": packages, "workspace_members": ids, "resolve": {"nodes": nodes}}).to_string();
        Workspace::parse(text.as_bytes()).unwrap()
    }

    fn lines(workspace: &Workspace) -> Vec<String> {
        edges(workspace).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_house_in_order_has_no_violation() {
        let house = workspace(
            &[
                "keyward-domain",
                "keyward-crypto",
                "keyward-service",
                "validation",
                "keyward-host",
                "keyward-cli",
                "xtask",
            ],
            &["serde", "wasmtime", "tokio"],
            &[
                ("keyward-crypto", "keyward-domain", None),
                ("keyward-service", "keyward-crypto", None),
                ("validation", "keyward-crypto", None),
                ("keyward-host", "wasmtime", None),
                ("keyward-cli", "keyward-host", None),
                ("xtask", "tokio", None),
                ("keyward-domain", "serde", None),
            ],
        );
        assert_eq!(lines(&house), Vec::<String>::new());
    }

    #[test]
    fn each_planted_edge_is_one_line_that_names_the_edge_and_the_rule() {
        let cases: &[Planted] = &[
            (
                &["keyward-domain", "keyward-crypto"],
                &[],
                &[("keyward-domain", "keyward-crypto", None)],
                "keyward-domain -> keyward-crypto: keyward-crypto stands above it; words and rules stand on nothing of ours",
            ),
            (
                &["keyward-verify", "keyward-ledger"],
                &[],
                &[("keyward-ledger", "keyward-verify", None)],
                "keyward-ledger -> keyward-verify: keyward-verify stands beside it; the hot path reads and the audited commit writes: neither knows of the other",
            ),
            (
                &["keyward-records", "keyward-host"],
                &[],
                &[("keyward-records", "keyward-host", None)],
                "keyward-records -> keyward-host: keyward-host stands on no floor; how to read the store: it cannot know how one writes",
            ),
            (
                &["keyward-host", "keyward-domain"],
                &[],
                &[("keyward-host", "keyward-domain", Some("dev"))],
                "keyward-host -> keyward-domain: the host runs any Spin application and knows nothing of Keyward",
            ),
            (
                &["validation"],
                &["between", "keyward-ledger"],
                &[("validation", "between", None), ("between", "keyward-ledger", None)],
                "validation -> between -> keyward-ledger: validation cannot reach code that writes records",
            ),
            (
                &["keyward-service"],
                &["serde", "tokio-util"],
                &[("keyward-service", "serde", None), ("serde", "tokio-util", None)],
                "keyward-service -> serde -> tokio-util: domain to service know nothing of Wasm, of a runtime or of a store's driver",
            ),
            (
                &["keyward-domain"],
                &["getrandom"],
                &[("keyward-domain", "getrandom", None)],
                "keyward-domain -> getrandom: randomness comes in as a trait; only the outermost layer has the real one",
            ),
            (
                &["keyward-domain", "keyward-crypto"],
                &["tokio", "tokio-macros"],
                &[
                    ("keyward-crypto", "keyward-domain", None),
                    ("keyward-domain", "tokio", None),
                    ("tokio", "tokio-macros", None),
                ],
                "keyward-domain -> tokio: domain to service know nothing of Wasm, of a runtime or of a store's driver",
            ),
            (&["stray"], &[], &[], "stray: a crate of the workspace has its place in xtask/src/floors.rs"),
        ];
        for (members, outside, edges, expected) in cases {
            assert_eq!(lines(&workspace(members, outside, edges)), [*expected]);
        }
    }

    #[test]
    fn tests_of_a_floor_may_use_what_the_floor_may_not() {
        let house = workspace(
            &["keyward-domain", "keyward-crypto"],
            &["proptest", "getrandom"],
            &[
                ("keyward-domain", "proptest", Some("dev")),
                ("proptest", "getrandom", None),
                ("keyward-domain", "keyward-crypto", Some("dev")),
            ],
        );
        assert_eq!(lines(&house), Vec::<String>::new());
    }

    #[test]
    fn a_version_for_tests_does_not_taint_the_one_that_ships() {
        let edges = [
            ("keyward-crypto", "dalek@3", None),
            ("keyward-crypto", "other-notes", Some("dev")),
            ("other-notes", "dalek@2", None),
            ("dalek@2", "getrandom", None),
        ];
        let outside = ["dalek@2", "dalek@3", "other-notes", "getrandom"];
        assert_eq!(lines(&workspace(&["keyward-crypto"], &outside, &edges)), Vec::<String>::new());
        let worse = [&edges[..], &[("keyward-crypto", "dalek@2", None)]].concat();
        assert_eq!(
            lines(&workspace(&["keyward-crypto"], &outside, &worse)),
            [
                "keyward-crypto -> dalek -> getrandom: randomness comes in as a trait; only the outermost layer has the real one"
            ]
        );
    }

    #[test]
    fn a_clock_is_found_in_code_that_ships_and_nowhere_else() {
        let source = "//! Never SystemTime.\nuse std::time::SystemTime;\n#[cfg(test)]\n#[rustfmt::skip]\nmod tests {\n    use std::fs;\n}\nfn later() { SystemTime::now() }\n";
        let numbers: Vec<String> =
            unsaid("src/a.rs", &shipped("src/a.rs", source), &["SystemTime", "std::fs"], "no")
                .iter()
                .map(ToString::to_string)
                .collect();
        assert_eq!(numbers, ["src/a.rs:2 says `SystemTime`: no", "src/a.rs:8 says `SystemTime`: no"]);
    }

    #[test]
    fn the_host_carries_no_name_but_its_own() {
        assert_eq!(host_says("a.rs", "use keyward_host::start; // keyward-host\n"), []);
        let said = host_says("a.rs", "let a = 1;\nlet header = \"Keyward-Key-Id\";\n");
        assert_eq!(said.len(), 1);
        assert!(said[0].to_string().starts_with("a.rs:2 says `keyward`"), "{}", said[0]);
    }
}
