//! A live group: its members, its policy, and the merged rows it has so far.

use std::sync::Arc;

use super::network::Form;
use crate::retest::{Ask, Members, Policy, Thresholds};

/// A group between its forming and its last verdict.
pub(super) struct Group {
    /// Item ids by position.
    pub items: Vec<usize>,
    /// The band of risk that its items are of.
    pub band: usize,
    /// Who has no verdict yet.
    pub open: Members,
    /// The state machine.
    pub policy: Box<dyn Policy>,
    /// What its tests are judged by: those of the plan it was formed by.
    pub thresholds: Arc<Thresholds>,
    /// Members whose level-0 row is not computed.
    pub unready: usize,
    /// Tests asked for and not observed.
    pub running: usize,
    /// Tests that wait for rows.
    pub blocked: Vec<Ask>,
    /// Tests of several members that were positive, with the labels that passed and their scores.
    pub positive: Vec<(Members, Vec<(usize, f32)>)>,
    /// Merged rows of levels above 0.
    pub nodes: Vec<Node>,
}

/// A merged row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node {
    pub level: usize,
    pub members: Members,
    pub row: Option<usize>,
    /// Whether a merge for it is queued or done.
    pub queued: bool,
}

impl Group {
    /// The node of a level that covers exactly `members`.
    pub fn node(&self, level: usize, members: Members) -> Option<&Node> {
        self.nodes.iter().find(|n| n.level == level && n.members == members)
    }

    /// Makes sure that `members` have the nodes a test of them needs at every level above 0.
    pub fn want(&mut self, form: &Form, members: Members) {
        for level in 1..form.levels.len() {
            for block in members.parts(form.span(level)) {
                if self.node(level, block).is_none() {
                    self.nodes.push(Node { level, members: block, row: None, queued: false });
                }
            }
        }
    }

    /// Whether every row that a merge or test of `members` reads at `level` is there.
    pub fn has_rows(&self, form: &Form, level: usize, members: Members) -> bool {
        if self.unready > 0 {
            return false;
        }
        level == 0 || members.parts(form.span(level)).all(|b| self.node(level, b).is_some_and(|n| n.row.is_some()))
    }

    /// Appends the rows of `level` that cover `members`; `row_of` gives an item's level-0 row.
    pub fn rows(
        &self,
        form: &Form,
        level: usize,
        members: Members,
        row_of: impl Fn(usize) -> usize,
        out: &mut Vec<i64>,
    ) {
        if level == 0 {
            out.extend(members.iter().map(|position| row_of(self.items[position]) as i64));
            return;
        }
        let blocks = members.parts(form.span(level));
        out.extend(blocks.filter_map(|b| self.node(level, b)?.row).map(|row| row as i64));
    }

    /// How many rows of `level` cover `members`.
    pub fn arity(form: &Form, level: usize, members: Members) -> usize {
        if level == 0 { members.len() } else { members.parts(form.span(level)).count() }
    }
}
