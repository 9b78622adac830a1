//! The root of a growing tree (RFC 6962 section 2.1) out of its complete subtrees alone: a node hash for each leaf, and one for each
//! subtree where a root is asked for. Written apart from the tree that it checks.

use keyward_crypto::digest::{node_hash, sha256};
use keyward_crypto::tree::Hash;

/// The complete subtrees of a tree, largest first, each with its height.
#[derive(Debug, Default)]
pub(crate) struct Frontier {
    subtrees: Vec<(u8, Hash)>,
}

impl Frontier {
    pub(crate) fn append(&mut self, leaf: Hash) {
        let (mut height, mut hash) = (0, leaf);
        while let Some((_, left)) = self.subtrees.pop_if(|(top, _)| *top == height) {
            hash = node_hash(&left, &hash);
            height = height.saturating_add(1);
        }
        self.subtrees.push((height, hash));
    }

    pub(crate) fn root(&self) -> Hash {
        let mut from_the_right = self.subtrees.iter().rev();
        match from_the_right.next() {
            None => sha256(b""),
            Some((_, last)) => from_the_right.fold(*last, |right, (_, left)| node_hash(left, &right)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keyward_crypto::digest::leaf_hash;
    use keyward_crypto::tree::Edge;

    #[test]
    fn it_agrees_with_the_tree_in_tiles() {
        let (mut frontier, mut edge) = (Frontier::default(), Edge::empty());
        assert_eq!(frontier.root(), edge.root());
        for leaf in 0_u32..1500 {
            frontier.append(leaf_hash(&leaf.to_be_bytes()));
            edge.append(leaf_hash(&leaf.to_be_bytes()));
            assert_eq!(frontier.root(), edge.root(), "{leaf}");
        }
    }
}
