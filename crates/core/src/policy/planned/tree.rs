//! The sets of a group that can be tested, as a tree (pure).

use std::ops::Range;

use crate::policy::Members;

/// A set of members. Its children are the parts in which it is retested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) members: Members,
    /// The root is its own parent.
    pub(super) parent: usize,
    /// Empty for a single member.
    pub(super) children: Range<usize>,
}

/// Nodes by falling size: a parent precedes its children, and the children of a node are
/// contiguous.
///
/// Each inner node has at least two children and each leaf is one member, so 64 members have at
/// most 127 nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tree {
    pub(super) nodes: Vec<Node>,
}

impl Tree {
    /// The tree of `size` members. Each set is cut into parts of the next smaller size of `chain`,
    /// which falls to 1.
    pub(super) fn new(chain: &[usize], size: usize) -> Self {
        let mut nodes = vec![Node { members: Members::first(size), parent: 0, children: 0..0 }];
        let mut at = 0;
        while at < nodes.len() {
            let members = nodes[at].members;
            if members.len() > 1 {
                let part = chain.iter().copied().find(|&s| s < members.len()).unwrap_or(1);
                let first = nodes.len();
                nodes.extend(members.chunks(part).map(|members| Node {
                    members,
                    parent: at,
                    children: 0..0,
                }));
                nodes[at].children = first..nodes.len();
            }
            at += 1;
        }
        Self { nodes }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn children_partition_their_parent_and_follow_it(
            sizes in prop::collection::btree_set(2usize..=64, 0..6),
            size in 1usize..=64,
        ) {
            let chain: Vec<usize> = sizes.into_iter().rev().chain([1]).collect();
            let tree = Tree::new(&chain, size);
            prop_assert!(tree.nodes.len() < 2 * size);
            for (at, node) in tree.nodes.iter().enumerate() {
                prop_assert_eq!(node.children.is_empty(), node.members.len() == 1);
                let parts = &tree.nodes[node.children.clone()];
                prop_assert!(parts.iter().all(|part| part.parent == at));
                prop_assert!(node.children.is_empty() || node.children.start > at);
                if !parts.is_empty() {
                    let all = parts.iter().fold(Members::NONE, |all, part| all.union(part.members));
                    prop_assert_eq!(all, node.members);
                    prop_assert_eq!(
                        parts.iter().map(|part| part.members.len()).sum::<usize>(),
                        node.members.len()
                    );
                }
            }
        }
    }
}
