//! The pictures of an item, which are judged one by one, and the verdict on the item.
//!
//! A still image has one picture. The sampled frames of an animation are pictures too. Each of them
//! meets the exits, and is a member of groups of its own. An item is flagged if any of its pictures is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use dorfman_core::engine::{ItemVerdict, Verdict};

use crate::failure::Failure;
use crate::item::{FinishedItem, ImageFile, Item};

/// A picture of an item: its still image, or a frame of its animation.
#[derive(Debug)]
pub struct Picture(Part);

#[derive(Debug)]
enum Part {
    Still(Box<Item>),
    Frame { of: Arc<Animation>, number: u32 },
}

/// An animation whose frames are judged.
#[derive(Debug)]
struct Animation {
    risk: Option<f32>,
    key: Option<u64>,
    received: Instant,
    state: Mutex<State>,
}

/// What is known so far.
#[derive(Debug)]
struct State {
    /// The item, until its verdict.
    item: Option<Box<Item>>,
    /// Frames without an outcome.
    left: usize,
    /// The outcome of the frame that decides so far, and the number of the frame.
    decisive: Option<(u32, Outcome)>,
    /// The highest score of each label that passed, by score column.
    labels: BTreeMap<usize, f32>,
    tests: u16,
    rounds: u8,
}

/// What became of a frame.
type Outcome = Result<ItemVerdict<()>, Failure>;

impl Picture {
    /// The pictures of an item: one per number of `frames`, which are the sampled frames of `file`.
    pub fn of(mut item: Item, file: ImageFile, frames: &[u32]) -> Vec<Self> {
        item.file = file;
        if frames.len() <= 1 {
            return vec![Self(Part::Still(Box::new(item)))];
        }
        let animation = Arc::new(Animation {
            risk: item.reference.risk,
            key: item.origin.key,
            received: item.origin.received,
            state: Mutex::new(State {
                item: Some(Box::new(item)),
                left: frames.len(),
                decisive: None,
                labels: BTreeMap::new(),
                tests: 0,
                rounds: 0,
            }),
        });
        let frame = |&number: &u32| Self(Part::Frame { of: Arc::clone(&animation), number });
        frames.iter().map(frame).collect()
    }

    /// The number of the frame, from 0.
    pub fn number(&self) -> u32 {
        match &self.0 {
            Part::Still(_) => 0,
            Part::Frame { number, .. } => *number,
        }
    }

    /// The risk of the item, as its sender estimates it, 0 to 1.
    pub fn risk(&self) -> Option<f32> {
        match &self.0 {
            Part::Still(item) => item.reference.risk,
            Part::Frame { of, .. } => of.risk,
        }
    }

    /// The hash of the key of the item's record, if it has one.
    pub fn key(&self) -> Option<u64> {
        match &self.0 {
            Part::Still(item) => item.origin.key,
            Part::Frame { of, .. } => of.key,
        }
    }

    /// When the record of the item was read.
    pub fn received(&self) -> Instant {
        match &self.0 {
            Part::Still(item) => item.origin.received,
            Part::Frame { of, .. } => of.received,
        }
    }

    /// Ends a picture without a verdict. Returns the item if this was its last picture.
    pub fn fail(self, failure: Failure) -> Option<FinishedItem> {
        match self.0 {
            Part::Still(item) => Some(dead_letter(*item, failure)),
            Part::Frame { of, number } => of.add(number, Err(failure)),
        }
    }
}

/// Takes the verdict on a picture. Returns the item if this was its last picture.
pub fn finish(verdict: ItemVerdict<Picture>) -> Option<FinishedItem> {
    let (picture, verdict) = taken(verdict);
    match picture.0 {
        Part::Still(item) => Some(FinishedItem::Verdict(with(*item, verdict))),
        Part::Frame { of, number } => of.add(number, Ok(verdict)),
    }
}

impl Animation {
    fn add(&self, number: u32, outcome: Outcome) -> Option<FinishedItem> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.add(number, outcome);
        if state.left > 0 {
            return None;
        }
        let mut item = *state.item.take()?;
        let (frame, outcome) = state.decisive.take()?;
        item.file.frame = frame;
        match outcome {
            Err(failure) => Some(dead_letter(item, failure)),
            Ok(mut verdict) => {
                if let Verdict::Flagged(labels) = &mut verdict.verdict {
                    *labels = std::mem::take(&mut state.labels).into_iter().collect();
                }
                (verdict.tests, verdict.rounds) = (state.tests, state.rounds);
                Some(FinishedItem::Verdict(with(item, verdict)))
            }
        }
    }
}

impl State {
    fn add(&mut self, number: u32, outcome: Outcome) {
        self.left = self.left.saturating_sub(1);
        if let Ok(verdict) = &outcome {
            self.tests = self.tests.saturating_add(verdict.tests);
            self.rounds = self.rounds.max(verdict.rounds);
            if let Verdict::Flagged(labels) = &verdict.verdict {
                for &(column, score) in labels {
                    let highest = self.labels.entry(column).or_insert(score);
                    *highest = highest.max(score);
                }
            }
        }
        // At the same rank, the first frame decides, whatever the order of the verdicts.
        let before = self.decisive.as_ref();
        let decides = before.is_none_or(|(first, other)| {
            let (new, old) = (rank(&outcome), rank(other));
            new > old || (new == old && number < *first)
        });
        if decides {
            self.decisive = Some((number, outcome));
        }
    }
}

/// How much a frame decides: a flag before a failure before a cleared frame, then the higher score.
fn rank(outcome: &Outcome) -> (u8, f32) {
    let Ok(verdict) = outcome else { return (1, 0.0) };
    let kind = match &verdict.verdict {
        Verdict::Flagged(_) => 2,
        Verdict::Failed(_) => 1,
        Verdict::Cleared => 0,
    };
    (kind, if verdict.score.is_nan() { 0.0 } else { verdict.score })
}

fn dead_letter(item: Item, failure: Failure) -> FinishedItem {
    let Item { reference, origin, .. } = item;
    FinishedItem::DeadLetter { origin, reference: Some(reference), payload: Bytes::new(), failure }
}

/// A verdict without its payload, and the payload.
fn taken<T>(verdict: ItemVerdict<T>) -> (T, ItemVerdict<()>) {
    let ItemVerdict { payload, verdict, tests, rounds, score, arity, audited, exit, confirm_score } =
        verdict;
    let bare = ItemVerdict {
        payload: (),
        verdict,
        tests,
        rounds,
        score,
        arity,
        audited,
        exit,
        confirm_score,
    };
    (payload, bare)
}

/// A verdict with a payload.
fn with<T>(payload: T, bare: ItemVerdict<()>) -> ItemVerdict<T> {
    let ItemVerdict { verdict, tests, rounds, score, arity, audited, exit, confirm_score, .. } =
        bare;
    ItemVerdict { payload, verdict, tests, rounds, score, arity, audited, exit, confirm_score }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::failure::Reason;
    use crate::item::Origin;
    use crate::message::Reference;
    use crate::offsets::Tracker;

    fn item(tracker: &Arc<Tracker>) -> Item {
        let reference = Reference::from_json(br#"{"id":"a","uri":"/a.gif","risk":0.5}"#).unwrap();
        let ticket = tracker.take(0).unwrap();
        let received = Instant::now();
        let origin = Origin { ticket, headers: vec![], key: Some(7), timestamp: None, received };
        Item::new(reference, origin)
    }

    fn pictures(frames: &[u32]) -> Vec<Picture> {
        let file = ImageFile { frames: 10, ..ImageFile::default() };
        Picture::of(item(&Tracker::new("images".into(), 0)), file, frames)
    }

    fn verdict(payload: Picture, verdict: Verdict, score: f32) -> ItemVerdict<Picture> {
        let bare = ItemVerdict {
            payload: (),
            verdict,
            tests: 2,
            rounds: 1,
            score,
            arity: 1,
            audited: false,
            exit: None,
            confirm_score: None,
        };
        with(payload, bare)
    }

    #[test]
    fn a_still_image_has_the_verdict_of_its_picture() {
        let mut still = pictures(&[0]);
        let picture = still.remove(0);
        assert_eq!((picture.number(), picture.risk(), picture.key()), (0, Some(0.5), Some(7)));
        let finished = finish(verdict(picture, Verdict::Cleared, 0.1));
        let Some(FinishedItem::Verdict(verdict)) = finished else { panic!("a verdict") };
        assert_eq!((verdict.score, verdict.tests), (0.1, 2));
    }

    #[test]
    fn a_flagged_frame_flags_the_item_with_the_labels_of_all_frames() {
        let mut frames = pictures(&[0, 5, 9]).into_iter();
        let mut next = || frames.next().unwrap();
        assert!(finish(verdict(next(), Verdict::Flagged(vec![(0, 0.7), (2, 0.6)]), 0.7)).is_none());
        assert!(next().fail(Failure::new(Reason::Undecodable, "broken")).is_none());
        let last = verdict(next(), Verdict::Flagged(vec![(0, 0.9)]), 0.9);
        let Some(FinishedItem::Verdict(verdict)) = finish(last) else { panic!("a verdict") };
        assert_eq!(verdict.verdict, Verdict::Flagged(vec![(0, 0.9), (2, 0.6)]));
        assert_eq!((verdict.score, verdict.tests, verdict.rounds), (0.9, 4, 1));
        let file = verdict.payload.file;
        assert_eq!((file.frame, file.frames), (9, 10));
    }

    #[test]
    fn a_failed_frame_makes_the_item_a_dead_letter_unless_another_is_flagged() {
        let mut frames = pictures(&[0, 9]).into_iter();
        let mut next = || frames.next().unwrap();
        assert!(next().fail(Failure::new(Reason::Undecodable, "broken")).is_none());
        let finished = finish(verdict(next(), Verdict::Cleared, 0.1));
        let Some(FinishedItem::DeadLetter { reference, failure, .. }) = finished else {
            panic!("a dead letter")
        };
        assert_eq!((reference.unwrap().id.as_str(), failure.detail.as_str()), ("a", "broken"));
    }

    #[test]
    fn an_animation_that_is_dropped_counts_as_lost() {
        let tracker = Tracker::new("images".into(), 0);
        let mut frames = Picture::of(item(&tracker), ImageFile::default(), &[0, 1]);
        assert!(finish(verdict(frames.remove(0), Verdict::Cleared, 0.1)).is_none());
        assert_eq!(tracker.lost(), 0);
        drop(frames);
        assert_eq!(tracker.lost(), 1);
    }

    proptest! {
        /// Only the last verdict ends the item, and the order of the verdicts does not matter.
        #[test]
        fn the_order_of_the_verdicts_does_not_matter(
            scores in prop::collection::vec(0u8..20, 2..9),
            order in any::<prop::sample::Index>(),
        ) {
            let numbers: Vec<u32> = (0..scores.len() as u32).collect();
            let mut frames: Vec<_> = pictures(&numbers).into_iter().zip(&scores).collect();
            let highest = *scores.iter().max().unwrap();
            let first = scores.iter().position(|&score| score == highest).unwrap();
            let mut finished = None;
            while !frames.is_empty() {
                prop_assert!(finished.is_none());
                let (frame, &score) = frames.remove(order.index(frames.len()));
                let score = f32::from(score) / 20.0;
                let flagged = score >= 0.5;
                let label = if flagged { Verdict::Flagged(vec![(0, score)]) } else { Verdict::Cleared };
                finished = finish(verdict(frame, label, score));
            }
            let Some(FinishedItem::Verdict(verdict)) = finished else { panic!("a verdict") };
            prop_assert_eq!(verdict.payload.file.frame, first as u32);
            prop_assert_eq!(verdict.score, f32::from(highest) / 20.0);
            prop_assert_eq!(matches!(verdict.verdict, Verdict::Flagged(_)), highest >= 10);
        }
    }
}
