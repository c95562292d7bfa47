//! The whole measurement over scripted networks: the engine must make the tests that the replay
//! counts, whichever network tests images alone.

use std::sync::{Arc, Mutex};

use dorfman_core::cost::TestCost;
use dorfman_core::engine::{Level, Network, NetworkShape, RunError, ScriptedNetwork};

use super::measure::{MeasureSettings, Networks, measure};
use super::recorded::{RecordedNetwork, mark};
use crate::replay::{
    INDIVIDUAL, RecordedGroup, RecordedItem, RecordedPlan, Recording, ScoreSource, Scores,
};

const SIZES: [usize; 4] = [16, 8, 4, 1];

/// 50 groups of sixteen. Some images have a high score alone. The score of a larger group is that
/// of its highest member.
fn recording() -> Recording {
    let items: Vec<RecordedItem> =
        (0..800).map(|id| RecordedItem { id, positive: id % 80 == 3 }).collect();
    let alone = |item: &RecordedItem| if item.id % 70 == 3 || item.positive { 0.8 } else { 0.2 };
    let scores = |design: &str, size: usize| Scores {
        design: design.into(),
        size,
        cost: TestCost { full: 1.0 + size as f64, retest: 1.0 },
        groups: items
            .chunks(size)
            .map(|g| RecordedGroup {
                score: g.iter().map(alone).fold(0.0, f32::max),
                positive: g.iter().any(|i| i.positive),
            })
            .collect(),
    };
    let all =
        SIZES.map(|size| scores("D3", size)).into_iter().chain([scores(INDIVIDUAL, 1)]).collect();
    Recording::new("made up", items.clone(), all).unwrap()
}

fn shape(spans: &[usize], macs: u64) -> NetworkShape {
    let slots = |level: usize| 128 << level;
    let level = |(i, &fan_in): (usize, &usize)| Level {
        fan_in,
        slots: slots(i),
        macs: if spans.len() > 1 { macs } else { 0 },
        exit: false,
    };
    let levels = spans.iter().enumerate().map(level).collect();
    NetworkShape { levels, labels: 1, score_macs: 10 * macs, repeats: true, confirm_macs: None }
}

/// Counts the rows it computes: at level 0, merged, scored.
struct Counting {
    network: ScriptedNetwork,
    rows: Arc<Mutex<[usize; 3]>>,
}

impl Counting {
    fn new(spans: &[usize]) -> (Self, Arc<Mutex<[usize; 3]>>) {
        let rows = Arc::new(Mutex::new([0; 3]));
        (Self { network: ScriptedNetwork::new(shape(spans, 1)), rows: Arc::clone(&rows) }, rows)
    }
}

impl Network for Counting {
    fn shape(&self) -> &NetworkShape {
        self.network.shape()
    }

    fn embed(
        &mut self,
        images: &[&[u8]],
        first: usize,
        exits: &mut Vec<f32>,
    ) -> Result<(), RunError> {
        self.rows.lock().unwrap()[0] += images.len();
        self.network.embed(images, first, exits)
    }

    fn merge(
        &mut self,
        level: usize,
        members: &[i64],
        arity: usize,
        first: usize,
        exits: &mut Vec<f32>,
    ) -> Result<(), RunError> {
        self.rows.lock().unwrap()[1] += members.len() / arity;
        self.network.merge(level, members, arity, first, exits)
    }

    fn score(
        &mut self,
        members: &[i64],
        arity: usize,
        scores: &mut Vec<f32>,
    ) -> Result<(), RunError> {
        self.rows.lock().unwrap()[2] += members.len() / arity;
        self.network.score(members, arity, scores)
    }
}

#[test]
fn each_test_runs_on_the_network_that_its_score_is_from() {
    let settings = MeasureSettings { image_len: 3, groups: 20, batch: 8, seed: 1 };
    for (plan, alone) in [("d3:16,8,4,d3:1", 0), ("d3:16,8,4,1", 1)] {
        let ((mut stages, staged), (mut plain, by_plain), (mut individual, _)) =
            (Counting::new(&[1, 2]), Counting::new(&[1]), Counting::new(&[1]));
        let networks =
            Networks { stages: &mut stages, plain: &mut plain, individual: &mut individual };
        let measured =
            measure(settings, &plan.parse().unwrap(), &recording(), networks, &()).unwrap();
        let (tests, warm) = (&measured.sample.tests, 8);
        let singles = tests[3] as usize;
        let shared = tests[..3].iter().sum::<u64>() as usize;
        assert!(singles > 0 && measured.grouped.images == 320, "{measured:?}");
        let own = singles * (1 - alone);
        // The pairs of all groups, and the images that the same network tests alone.
        assert_eq!(
            *staged.lock().unwrap(),
            [320 + warm, 160 + own + warm, shared + own + warm],
            "{plan}"
        );
        let pixels = alone * 320;
        assert_eq!(*by_plain.lock().unwrap(), [pixels + warm, 0, alone * singles + warm], "{plan}");
        let macs = 320 + 160 + own + 10 * (shared + singles);
        assert_eq!(measured.relative_macs, macs as f64 / (10.0 * 320.0), "{plan}");
    }
}

#[test]
fn scores_that_were_not_recorded_are_an_error() {
    let recording = recording();
    let sources: Vec<ScoreSource> = ["d3:16", "4", "1"].map(|kind| kind.parse().unwrap()).into();
    let plan = || RecordedPlan::new(&recording, &sources, Some("d3"), &[0.5]).unwrap();
    let mut stages = ScriptedNetwork::new(shape(&[1, 2], 1));
    let mut network = RecordedNetwork::new(&mut stages, None, plan());
    let images: Vec<Vec<u8>> = (16..24)
        .map(|item| {
            let mut image = vec![0; 3];
            mark(&mut image, item);
            image
        })
        .collect();
    let images: Vec<&[u8]> = images.iter().map(|image| &image[..]).collect();
    network.embed(&images, 0, &mut Vec::new()).unwrap();
    network.merge(1, &[0, 1, 2, 3, 4, 5, 6, 6], 2, 0, &mut Vec::new()).unwrap();
    let mut scores = Vec::new();
    // A recorded group of four, in any order and with repeats. Then sets that were not recorded: a
    // pair, parts of two groups, and two pairs that are not adjacent.
    network.score(&[1, 0, 0, 1], 4, &mut scores).unwrap();
    assert_eq!(scores, [recording.scores("D3", 4).unwrap().groups[4].score]);
    for (members, says) in [([0, 0], "16..18"), ([1, 2], "18..22"), ([0, 2], "16..18, 20..22")] {
        let message = network.score(&members, 2, &mut scores).unwrap_err().to_string();
        assert!(message.contains("no score was recorded") && message.contains(says), "{message}");
    }
    assert!(network.merge(1, &[0, 2], 2, 0, &mut Vec::new()).is_err());
}
