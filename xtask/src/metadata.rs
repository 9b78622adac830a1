//! What `cargo metadata` says of the workspace: packages, and who depends on whom.
//! It reads and answers; the rules are in `floors`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use anyhow::{Context, bail};
use serde::Deserialize;

use crate::steps;

#[derive(Deserialize)]
struct Raw {
    packages: Vec<RawPackage>,
    workspace_members: Vec<String>,
    resolve: RawResolve,
}

#[derive(Deserialize)]
struct RawPackage {
    id: String,
    name: String,
    manifest_path: PathBuf,
    targets: Vec<RawTarget>,
}

#[derive(Deserialize)]
struct RawTarget {
    kind: Vec<String>,
}

#[derive(Deserialize)]
struct RawResolve {
    nodes: Vec<RawNode>,
}

#[derive(Deserialize)]
struct RawNode {
    id: String,
    deps: Vec<RawDep>,
}

#[derive(Deserialize)]
struct RawDep {
    pkg: String,
    dep_kinds: Vec<RawDepKind>,
}

#[derive(Deserialize)]
struct RawDepKind {
    /// Absent for a normal dependency, else `dev` or `build`.
    kind: Option<String>,
}

/// A package of the workspace.
#[derive(Debug, Clone)]
pub struct Member {
    /// What cargo calls it in the graph.
    id: String,
    /// The package's name.
    pub name: String,
    /// The folder of its manifest.
    pub folder: PathBuf,
    /// Whether it is a component: a dynamic library is what `wasm32-wasip2` makes one of.
    pub is_component: bool,
}

/// Which dependencies to follow.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Follow {
    /// Those of the code that ships: normal ones (a build script's are the builder's affair).
    Shipped,
    /// Tests and build scripts too.
    All,
}

/// The workspace's packages and the whole graph of dependencies. Rules are on names; the graph has a node for each version of a
/// package, since one may ship while another is there for tests.
pub struct Workspace {
    members: BTreeMap<String, Member>,
    /// id -> name
    names: BTreeMap<String, String>,
    /// id -> (id of the dependency, whether it ships)
    edges: BTreeMap<String, BTreeSet<(String, bool)>>,
}

impl Workspace {
    /// Asks cargo. All platforms are in it, so that a rule holds for native and Wasm alike.
    pub fn load() -> anyhow::Result<Self> {
        let output = steps::cargo(["metadata", "--format-version", "1"])
            .output()
            .context("cannot start `cargo metadata`")?;
        if !output.status.success() {
            bail!(
                "`cargo metadata` ended with {}: {}",
                output.status,
                String::from_utf8_lossy(&output.stderr).trim()
            );
        }
        Self::parse(&output.stdout)
    }

    /// Reads cargo's JSON (format version 1).
    pub fn parse(json: &[u8]) -> anyhow::Result<Self> {
        let raw: Raw = serde_json::from_slice(json)
            .context("`cargo metadata` answered something else than format version 1")?;
        let mut names = BTreeMap::new();
        let mut members = BTreeMap::new();
        for package in &raw.packages {
            names.insert(package.id.clone(), package.name.clone());
            if raw.workspace_members.contains(&package.id) {
                let folder = package.manifest_path.parent().map(PathBuf::from).unwrap_or_default();
                let is_component =
                    package.targets.iter().any(|target| target.kind.iter().any(|kind| kind == "cdylib"));
                members.insert(
                    package.name.clone(),
                    Member { id: package.id.clone(), name: package.name.clone(), folder, is_component },
                );
            }
        }
        let mut edges: BTreeMap<String, BTreeSet<(String, bool)>> = BTreeMap::new();
        for node in &raw.resolve.nodes {
            let to = edges.entry(node.id.clone()).or_default();
            for dep in &node.deps {
                let ships = dep.dep_kinds.iter().any(|kind| kind.kind.is_none());
                to.insert((dep.pkg.clone(), ships));
            }
        }
        Ok(Self { members, names, edges })
    }

    /// The workspace's packages, by name.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// One of them.
    pub fn member(&self, name: &str) -> Option<&Member> {
        self.members.get(name)
    }

    /// What a package of the workspace names in its own manifest.
    pub fn direct(&self, name: &str, follow: Follow) -> impl Iterator<Item = &str> {
        let ids = self.member(name).into_iter().flat_map(move |member| self.edges_of(&member.id, follow));
        ids.map(|id| self.name(id))
    }

    fn edges_of(&self, id: &str, follow: Follow) -> impl Iterator<Item = &str> {
        self.edges
            .get(id)
            .into_iter()
            .flatten()
            .filter(move |(_, ships)| follow == Follow::All || *ships)
            .map(|(to, _)| to.as_str())
    }

    fn name<'a>(&'a self, id: &'a str) -> &'a str {
        self.names.get(id).map_or(id, String::as_str)
    }

    /// Everything that ships with a package of the workspace, by name, each with one shortest way there (`name` first).
    pub fn closure(&self, name: &str) -> BTreeMap<String, Vec<String>> {
        let mut ways: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        let mut at: Vec<(&str, Vec<String>)> =
            self.member(name).map(|member| (member.id.as_str(), vec![name.to_owned()])).into_iter().collect();
        while !at.is_empty() {
            let mut next = Vec::new();
            for (from, way) in at {
                for to in self.edges_of(from, Follow::Shipped) {
                    if self.name(to) != name && seen.insert(to) {
                        let mut longer = way.clone();
                        longer.push(self.name(to).to_owned());
                        ways.entry(self.name(to).to_owned()).or_insert_with(|| longer.clone());
                        next.push((to, longer));
                    }
                }
            }
            at = next;
        }
        ways
    }

    /// Whether a package runs in Wasm only: a component, or a crate that itself speaks to Spin.
    pub fn is_wasm(&self, name: &str) -> bool {
        self.member(name).is_some_and(|member| member.is_component)
            || self.direct(name, Follow::Shipped).any(|to| to == "spin-sdk" || to.starts_with("wit-bindgen"))
    }
}
