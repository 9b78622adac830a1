//! How much memory a process and all its descendants take, out of `/proc`. It only reads.

use std::collections::BTreeMap;

use anyhow::Context;

/// What a tree of processes takes, in kilobytes.
#[derive(Clone, Copy, Default)]
pub struct Memory {
    /// Resident, summed over processes: pages that several of them share count in each.
    pub rss_kb: u64,
    /// The same, with each shared page divided among those that share it.
    pub pss_kb: u64,
    /// Resident and no part of any file: what the processes made themselves.
    pub anonymous_kb: u64,
    /// How many processes.
    pub processes: usize,
}

/// What `root` and its descendants take now.
pub fn of_tree(root: u32) -> anyhow::Result<Memory> {
    let children = children()?;
    let mut memory = Memory::default();
    let mut ahead = vec![root];
    while let Some(process) = ahead.pop() {
        ahead.extend(children.get(&process).into_iter().flatten());
        // One that has ended since takes nothing.
        let Ok(rollup) = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup")) else { continue };
        memory.rss_kb += kilobytes(&rollup, "Rss:").unwrap_or(0);
        memory.pss_kb += kilobytes(&rollup, "Pss:").unwrap_or(0);
        memory.anonymous_kb += kilobytes(&rollup, "Anonymous:").unwrap_or(0);
        memory.processes += 1;
    }
    Ok(memory)
}

/// All processes by their parent.
fn children() -> anyhow::Result<BTreeMap<u32, Vec<u32>>> {
    let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").context("cannot read /proc")?.flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let status = std::fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        if let Some(parent) = field(&status, "PPid:").and_then(|text| text.parse().ok()) {
            children.entry(parent).or_default().push(process);
        }
    }
    Ok(children)
}

/// The first word after `name` at the start of a line.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()
}

fn kilobytes(text: &str, name: &str) -> Option<u64> {
    field(text, name)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{kilobytes, of_tree};

    #[test]
    fn a_process_takes_memory() {
        let memory = of_tree(std::process::id()).unwrap();
        assert!(memory.processes >= 1 && memory.rss_kb > 100 && memory.pss_kb <= memory.rss_kb);
    }

    #[test]
    fn figures_are_found_by_their_name_alone() {
        let rollup =
            "00400000-7fff [rollup]\nRss:             812 kB\nPss:             101 kB\nPss_Dirty: 9 kB\n";
        assert_eq!((kilobytes(rollup, "Rss:"), kilobytes(rollup, "Pss:")), (Some(812), Some(101)));
    }
}
