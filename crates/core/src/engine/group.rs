//! A group in flight: its members, its policy, and the merged slots that it has so far.

use std::sync::Arc;

use super::item::{ItemId, ScoredLabel};
use super::network::NetworkShape;
use crate::calibration::Thresholds;
use crate::policy::{Members, Policy, Test};

/// A group from its formation to its last verdict.
pub(super) struct Group {
    /// Item ids by position.
    pub items: Vec<ItemId>,
    /// The risk band of the items.
    pub band: usize,
    /// Members without a verdict.
    pub open: Members,
    /// The state machine.
    pub policy: Box<dyn Policy>,
    /// The thresholds of the plan by which the group was formed.
    pub thresholds: Arc<Thresholds>,
    /// Tests that were requested and have no outcome yet.
    pub outstanding: usize,
    /// Tests that wait for slots.
    pub blocked: Vec<Test>,
    /// Positive tests of several members, with the labels that passed.
    pub positive: Vec<(Members, Vec<ScoredLabel>)>,
    /// Merged slots of the levels above the item levels.
    pub merged: Vec<MergedSlot>,
}

/// A slot of a level above the item levels that a group uses.
#[derive(Debug, Clone, Copy)]
pub(super) struct MergedSlot {
    pub level: usize,
    /// The members that the slot covers.
    pub members: Members,
    /// The slot, after its merge has run.
    pub slot: Option<usize>,
    /// Whether its merge is queued or has run.
    pub queued: bool,
}

impl Group {
    /// The merged slot of `level` that covers exactly `members`.
    pub fn merged_slot(&self, level: usize, members: Members) -> Option<&MergedSlot> {
        self.merged.iter().find(|merged| merged.level == level && merged.members == members)
    }

    /// Adds the merged slots that a test of `members` needs at every level above the item levels.
    pub fn require(&mut self, shape: &NetworkShape, members: Members) {
        for level in shape.item_top() + 1..shape.levels.len() {
            for block in members.blocks(shape.span(level)) {
                if self.merged_slot(level, block).is_none() {
                    let merged = MergedSlot { level, members: block, slot: None, queued: false };
                    self.merged.push(merged);
                }
            }
        }
    }

    /// Whether every slot of `level` that a merge or test of `members` reads is computed.
    pub fn has_slots(&self, shape: &NetworkShape, level: usize, members: Members) -> bool {
        let computed = |block| self.merged_slot(level, block).is_some_and(|m| m.slot.is_some());
        level <= shape.item_top() || members.blocks(shape.span(level)).all(computed)
    }

    /// Appends the slots of `level` that cover `members` to `out`. `level` is the last item level or
    /// above. `slot_of` gives an item's slot of the last item level.
    pub fn slots(
        &self,
        shape: &NetworkShape,
        level: usize,
        members: Members,
        slot_of: impl Fn(ItemId) -> usize,
        out: &mut Vec<i64>,
    ) {
        if level <= shape.item_top() {
            out.extend(members.iter().map(|position| slot_of(self.items[position]) as i64));
            return;
        }
        let blocks = members.blocks(shape.span(level));
        let slots = blocks.filter_map(|block| self.merged_slot(level, block)?.slot);
        out.extend(slots.map(|slot| slot as i64));
    }

    /// The number of slots of `level` that cover `members`.
    pub fn arity(shape: &NetworkShape, level: usize, members: Members) -> usize {
        if level <= shape.item_top() {
            members.len()
        } else {
            members.blocks(shape.span(level)).count()
        }
    }
}
