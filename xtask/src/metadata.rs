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

/// The workspace's packages and the whole graph of dependencies, by package name.
/// Two versions of one package are one node here: for rules on names that is what we want.
pub struct Workspace {
    members: BTreeMap<String, Member>,
    /// name -> (name of the dependency, whether it ships)
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
            names.insert(package.id.as_str(), package.name.as_str());
            if raw.workspace_members.contains(&package.id) {
                let folder = package.manifest_path.parent().map(PathBuf::from).unwrap_or_default();
                let is_component =
                    package.targets.iter().any(|target| target.kind.iter().any(|kind| kind == "cdylib"));
                members.insert(
                    package.name.clone(),
                    Member { name: package.name.clone(), folder, is_component },
                );
            }
        }
        let mut edges: BTreeMap<String, BTreeSet<(String, bool)>> = BTreeMap::new();
        for node in &raw.resolve.nodes {
            let Some(from) = names.get(node.id.as_str()) else { continue };
            let to = edges.entry((*from).to_owned()).or_default();
            for dep in &node.deps {
                let Some(name) = names.get(dep.pkg.as_str()) else { continue };
                let ships = dep.dep_kinds.iter().any(|kind| kind.kind.is_none());
                to.insert(((*name).to_owned(), ships));
            }
        }
        Ok(Self { members, edges })
    }

    /// The workspace's packages, by name.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// One of them.
    pub fn member(&self, name: &str) -> Option<&Member> {
        self.members.get(name)
    }

    /// What `name` names in its own manifest.
    pub fn direct(&self, name: &str, follow: Follow) -> impl Iterator<Item = &str> {
        self.edges
            .get(name)
            .into_iter()
            .flatten()
            .filter(move |(_, ships)| follow == Follow::All || *ships)
            .map(|(to, _)| to.as_str())
    }

    /// Everything that ships with `name`, each with one shortest way there (`name` first).
    pub fn closure(&self, name: &str) -> BTreeMap<String, Vec<String>> {
        let mut ways: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut at = vec![vec![name.to_owned()]];
        while !at.is_empty() {
            let mut next = Vec::new();
            for way in at {
                let Some(last) = way.last() else { continue };
                for to in self.direct(last, Follow::Shipped) {
                    if to != name && !ways.contains_key(to) {
                        let mut longer = way.clone();
                        longer.push(to.to_owned());
                        ways.insert(to.to_owned(), longer.clone());
                        next.push(longer);
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
