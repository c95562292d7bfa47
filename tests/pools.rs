//! Who shares a test with whom: bands of risk, lanes of keys, and the policy that needs no retests. In the engine, and in the worker on
//! librdkafka's mock cluster and on a real Apache Kafka.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[macro_use]
mod common;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use common::broker::{Broker, Embedded, Real};
use common::topic::{Read, produce, read};
use common::{PATIENCE, config, ids, model, png, reference, scripted, stop, topics};
use dorfman::config::group::GroupSize;
use dorfman::config::retest::PolicyKind;
use dorfman::engine::{Engine, Judged, Place, ScriptedNetwork, Settings, Verdict, single_label_form};
use dorfman::grouping::key_hash;
use dorfman::message::ReferenceMessage;
use dorfman::retest::{Individual, MultiRound, OneRound, Plan, Policy, Thresholds};
use dorfman::sink::message::{FlagRecord, VerdictRecord};
use dorfman::worker;

type Bench = Engine<ScriptedNetwork, usize>;

fn engine(plan: impl Plan + 'static) -> Bench {
    let settings = Settings { max_batch: 8, preferred_batch: 4, buckets: vec![], max_wait: PATIENCE };
    let network = ScriptedNetwork::new(single_label_form(64, 10, 100));
    Engine::new(network, Box::new(plan), Thresholds::constant(0.5), settings)
}

/// Offers images with their places and runs until every one has its verdict.
fn judge(engine: &mut Bench, images: &[(Place, f32)]) -> BTreeMap<usize, Judged<usize>> {
    for (i, &(place, suspicion)) in images.iter().enumerate() {
        engine.offer_to(place, vec![suspicion], i, Instant::now()).unwrap();
    }
    engine.flush().unwrap();
    while engine.step().unwrap() {}
    let judged: BTreeMap<usize, Judged<usize>> = engine.judged().map(|j| (j.payload, j)).collect();
    assert_eq!(judged.len(), images.len());
    judged
}

fn in_pool(pool: usize) -> Place {
    Place { pool, risk: None }
}

#[test]
fn bands_are_tested_apart_and_each_by_its_plan() {
    let others: Vec<(Box<dyn Plan>, Thresholds)> = vec![
        (Box::new(MultiRound::new(&[2, 1]).unwrap()), Thresholds::constant(0.5)),
        (Box::new(Individual), Thresholds::constant(0.95)),
    ];
    let mut engine = engine(MultiRound::new(&[8, 1]).unwrap()).with_pools(others, 1);
    // Interleaved: the first band is clean, the second all positive, the third positive by 0.5 but not by its own threshold.
    let images: Vec<(Place, f32)> = (0..24).map(|i| (in_pool(i % 3), [0.1, 0.9, 0.9][i % 3])).collect();
    let judged = judge(&mut engine, &images);
    for (i, item) in &judged {
        let (verdict, arity, tests) = (&item.verdict, item.arity, item.tests);
        match i % 3 {
            0 => assert!(*verdict == Verdict::Cleared && arity == 8 && tests == 1),
            1 => assert!(matches!(verdict, Verdict::Flagged(_)) && tests == 2),
            _ => assert!(*verdict == Verdict::Cleared && arity == 1 && tests == 1),
        }
    }
    let bands: Vec<(u64, u64)> = engine.stats().bands.iter().map(|b| (b.settled, b.flagged)).collect();
    assert_eq!(bands, [(8, 0), (8, 8), (8, 0)]);
    assert_eq!((engine.stats().settled, engine.stats().flagged), (24, 8));
}

#[test]
fn lanes_keep_keys_together() {
    let mut engine = engine(MultiRound::new(&[4, 1]).unwrap()).with_pools(Vec::new(), 4);
    let images: Vec<(Place, f32)> = (0..16).map(|i| (in_pool(i % 4), if i % 4 == 2 { 0.9 } else { 0.1 })).collect();
    let judged = judge(&mut engine, &images);
    // All positives met in one group: 4 first tests and 4 retests. Dealt out, every group would have had one.
    assert_eq!(engine.stats().tests(), 8);
    assert_eq!(judged.values().filter(|j| matches!(j.verdict, Verdict::Flagged(_))).count(), 4);
}

#[test]
fn one_band_can_be_replanned() {
    let second: (Box<dyn Plan>, Thresholds) = (Box::new(MultiRound::new(&[4, 1]).unwrap()), Thresholds::constant(0.5));
    let mut engine = engine(MultiRound::new(&[4, 1]).unwrap()).with_pools(vec![second], 2);
    engine.replan(1, Box::new(MultiRound::new(&[2, 1]).unwrap()), Thresholds::constant(0.5)).unwrap();
    let images: Vec<(Place, f32)> = (0..16).map(|i| (in_pool(i % 4), 0.1)).collect();
    let judged = judge(&mut engine, &images);
    assert!(judged.values().all(|j| j.arity == if j.payload % 4 < 2 { 4 } else { 2 }));
}

/// A plan that writes down the risks it is told.
struct Told(MultiRound, Arc<Mutex<Vec<Vec<Option<f32>>>>>);

impl Plan for Told {
    fn group_size(&self) -> usize {
        self.0.group_size()
    }

    fn policy(&self) -> Box<dyn Policy> {
        self.0.policy()
    }

    fn policy_for(&self, risks: &[Option<f32>]) -> Box<dyn Policy> {
        self.1.lock().unwrap().push(risks.to_vec());
        self.0.policy()
    }

    fn arities(&self) -> Vec<usize> {
        self.0.arities()
    }

    fn describe(&self) -> String {
        self.0.describe()
    }
}

#[test]
fn a_policy_is_told_the_risks_by_position() {
    let told = Arc::default();
    let mut engine = engine(Told(MultiRound::new(&[2, 1]).unwrap(), Arc::clone(&told)));
    let risks = [None, None, None, Some(0.25)];
    judge(&mut engine, &risks.map(|risk| (Place { pool: 0, risk }, 0.1)));
    assert_eq!(*told.lock().unwrap(), [vec![None, Some(0.25)]], "groups without risks have nothing to tell");
}

#[test]
fn a_row_and_a_column_flag_without_an_individual_test() {
    let mut engine = engine(OneRound::new(16).unwrap());
    let images: Vec<(Place, f32)> = (0..16).map(|i| (in_pool(0), if i == 6 { 0.9 } else { 0.1 })).collect();
    let judged = judge(&mut engine, &images);
    for (i, item) in judged {
        assert_eq!((item.tests, item.rounds, item.arity), (2, 1, 4));
        assert_eq!(item.verdict, if i == 6 { Verdict::Flagged(vec![(0, 0.9)]) } else { Verdict::Cleared });
    }
    assert_eq!(engine.stats().tests(), 8);
}

#[test]
fn a_score_that_is_no_number_fails_its_image_alone() {
    let mut engine = engine(OneRound::new(9).unwrap());
    // The third image is positive and shares its row with the fourth, which can't be read.
    let suspicion = |i| [0.1, 0.1, 0.1, 0.9, f32::NAN, 0.1, 0.1, 0.1, 0.1][i];
    let images: Vec<(Place, f32)> = (0..9).map(|i| (in_pool(0), suspicion(i))).collect();
    let judged = judge(&mut engine, &images);
    let those = |wanted: fn(&Verdict) -> bool| -> Vec<usize> {
        judged.values().filter(|j| wanted(&j.verdict)).map(|j| j.payload).collect()
    };
    assert_eq!(those(|v| matches!(v, Verdict::Failed(_))), [4]);
    assert_eq!(those(|v| matches!(v, Verdict::Flagged(_))), [3]);
}

on_both_brokers![the_risky_are_tested_alone, images_of_a_key_share_a_group, one_round_is_enough];

fn risky(id: &str, positive: bool, risk: f32) -> (String, Vec<u8>) {
    let message =
        ReferenceMessage { risk: Some(risk), ..ReferenceMessage::inline(id, &png(if positive { 250 } else { 5 })) };
    (id.to_owned(), serde_json::to_vec(&message).unwrap())
}

fn verdicts(broker: &impl Broker, config: &dorfman::config::Config, count: usize) -> Vec<Read<VerdictRecord>> {
    read(broker.bootstrap(), config.sink.verdicts_topic.as_ref().unwrap(), count)
}

fn the_risky_are_tested_alone<B: Broker>(name: &str) {
    let broker = B::with_topics(&topics(name, 1));
    let mut config = config(broker.bootstrap(), name);
    config.group.risk_bands = vec![0.01];
    config.group.individual_from = Some(0.5);
    // In order, so that each group of the suspicious has its positive.
    config.decode.threads = 1;
    config.group.size = GroupSize::Of(4);
    config.group.max_wait = PATIENCE;
    config.validate().unwrap();
    // Harmless ones, suspicious ones of which every fourth is positive, and likely ones, mixed.
    let messages: Vec<(String, Vec<u8>)> = (0..24)
        .map(|i| match i % 3 {
            0 => risky(&format!("harmless-{i}"), false, 0.001),
            1 => risky(&format!("suspicious-{i}"), i % 12 == 1, 0.1),
            _ => risky(&format!("likely-{i}"), true, 0.9),
        })
        .collect();
    produce(broker.bootstrap(), &config.source.topic, &messages);
    let running = worker::start(&config, model(scripted())).unwrap();
    let verdicts = verdicts(&broker, &config, messages.len());
    let metrics = running.metrics().text();
    stop(running);

    for Read { record, .. } in verdicts {
        let kind = record.id.split('-').next().unwrap();
        let (tests, arity) = (record.tests, record.arity);
        match kind {
            "harmless" => assert_eq!((tests, arity), (1, 4), "{record:?}"),
            "suspicious" => assert_eq!((tests, arity), (2, 1), "{record:?}"),
            _ => assert_eq!((tests, arity), (1, 1), "{record:?}"),
        }
    }
    for line in ["plan_group_size{band=\"0\"} 4", "plan_group_size{band=\"0.01\"} 4", "plan_group_size{band=\"0.5\"} 1"]
    {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
}

fn images_of_a_key_share_a_group<B: Broker>(name: &str) {
    let broker = B::with_topics(&topics(name, 1));
    let mut config = config(broker.bootstrap(), name);
    config.group.key_lanes = 4;
    config.group.size = GroupSize::Of(4);
    config.group.max_wait = PATIENCE;
    config.validate().unwrap();
    // An album of each lane, their images interleaved; all of one album is positive.
    let album =
        |lane: u64| (0..).map(|i| format!("album-{i}")).find(|key| key_hash(key.as_bytes()) % 4 == lane).unwrap();
    let albums: Vec<String> = (0..4).map(album).collect();
    let message = |i: usize| (albums[i % 4].clone(), reference(&format!("{}/{i}", i % 4), i % 4 == 3));
    let messages: Vec<(String, Vec<u8>)> = (0..16).map(message).collect();
    produce(broker.bootstrap(), &config.source.topic, &messages);
    let running = worker::start(&config, model(scripted())).unwrap();
    let verdicts = verdicts(&broker, &config, messages.len());
    stop(running);

    for Read { record, .. } in verdicts {
        assert_eq!(record.tests, if record.id.starts_with('3') { 2 } else { 1 }, "{record:?}");
    }
}

fn one_round_is_enough<B: Broker>(name: &str) {
    let broker = B::with_topics(&topics(name, 1));
    let mut config = config(broker.bootstrap(), name);
    config.retest.policy = PolicyKind::OneRound;
    config.group.max_wait = PATIENCE;
    config.validate().unwrap();
    let id = |i: usize| format!("image-{i:02}");
    let messages: Vec<(String, Vec<u8>)> = (0..16).map(|i| (id(i), reference(&id(i), i == 11))).collect();
    produce(broker.bootstrap(), &config.source.topic, &messages);
    let running = worker::start(&config, model(scripted())).unwrap();
    let flags: Vec<Read<FlagRecord>> = read(broker.bootstrap(), &config.sink.flagged_topic, 1);
    let verdicts = verdicts(&broker, &config, messages.len());
    stop(running);

    assert_eq!(ids(&flags, |f| &f.id), [id(11)]);
    let flag = &flags[0].record;
    assert!(flag.tests == 2 && flag.label == "bad" && flag.labels.len() == 1 && flag.score > 0.9, "{flag:?}");
    assert!(verdicts.iter().all(|v| v.record.rounds == 1 && v.record.arity == 4));
}
