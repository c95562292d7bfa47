//! What to run next, and running it: one stage, once, on whatever any live group wants of it.

use std::time::{Duration, Instant};

use super::core::{Engine, EngineError};
use super::group::Node;
use super::network::{Network, Part};
use crate::cpu::thread_time;

/// A run that could be made now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Run {
    Embed,
    Merge { level: usize, lane: usize },
    Score { lane: usize },
    Confirm,
}

impl<N: Network, T> Engine<N, T> {
    /// The run with the fullest batch (a batch counts as full from the preferred size on, or once it was passed over long enough); of
    /// equals the one of the latest round (the confirm network's is later than any), then the deepest stage.
    pub(super) fn next_run(&mut self) -> Option<Run> {
        let (full, max_wait, now) = (self.settings.preferred_batch, self.settings.max_wait, Instant::now());
        let top = self.merges.len();
        let embed = self.arrivals.len().min(self.rows[0].available());
        let embed = (embed > 0).then_some((embed.min(full), 0, 0, Run::Embed));
        let merges = self.merges.iter().enumerate().skip(1).flat_map(|(level, lanes)| {
            let room = self.rows[level].available() > 0;
            let waiting = lanes.iter().enumerate().filter(move |(_, l)| room && l.len() > 0);
            waiting.map(move |(lane, l)| (l.fill(full, max_wait, now), l.round(), level, Run::Merge { level, lane }))
        });
        let tests = self.tests.iter().enumerate().filter(|(_, l)| l.len() > 0);
        let tests = tests.map(|(lane, l)| (l.fill(full, max_wait, now), l.round(), top, Run::Score { lane }));
        let confirm = &self.confirms;
        let confirm =
            (confirm.len() > 0).then(|| (confirm.fill(full, max_wait, now), confirm.round(), top + 1, Run::Confirm));
        let runs = embed.into_iter().chain(merges).chain(tests).chain(confirm);
        let run = runs.max_by_key(|&(fill, round, depth, _)| (fill, round, depth)).map(|(.., run)| run)?;
        for (level, lanes) in self.merges.iter_mut().enumerate() {
            lanes.iter_mut().enumerate().for_each(|(lane, l)| l.note(run == Run::Merge { level, lane }, now));
        }
        self.tests.iter_mut().enumerate().for_each(|(lane, l)| l.note(run == Run::Score { lane }, now));
        self.confirms.note(run == Run::Confirm, now);
        Some(run)
    }

    /// How many rows to compute for `jobs` waiting ones: all that fit in a batch, rounded up to a bucket.
    pub(super) fn batch(&self, jobs: usize) -> usize {
        let jobs = jobs.min(self.settings.max_batch);
        self.settings.buckets.iter().copied().find(|&b| b >= jobs).unwrap_or(jobs)
    }

    /// The largest batch that fits into `rows` rows: free rows may lie too scattered for the bucket that was wanted.
    fn warmed(&self, rows: usize) -> usize {
        self.settings.buckets.iter().rev().copied().find(|&b| b <= rows).unwrap_or(rows)
    }

    /// Runs it.
    pub(super) fn run(&mut self, run: Run) -> Result<(), EngineError> {
        match run {
            Run::Embed => self.run_embed(),
            Run::Merge { level, lane } => self.run_merge(level, lane),
            Run::Score { lane } => self.run_score(lane),
            Run::Confirm => self.run_confirm(),
        }
    }

    fn run_embed(&mut self) -> Result<(), EngineError> {
        let wanted = self.batch(self.arrivals.len());
        let run = self.rows[0].take(wanted);
        let batch = self.warmed(run.len());
        let count = batch.min(self.arrivals.len());
        let ids: Vec<usize> = self.arrivals.drain(..count).collect();
        let mut images: Vec<&[f32]> = ids.iter().map(|&id| &self.items[id].image[..]).collect();
        images.resize(batch, images[count - 1]);
        let clocks = Clocks::start();
        self.network.embed(&images, run.start)?;
        self.account(Part::Stage(0), 1, clocks, count, batch);
        for row in run.clone().skip(count) {
            self.rows[0].give(row);
        }
        for (&id, row) in ids.iter().zip(run) {
            let item = &mut self.items[id];
            item.row = Some(row);
            if self.confirm.is_none() {
                item.image = Vec::new();
            }
            let Some(group) = item.group else { continue };
            self.groups[group].unready -= 1;
            if self.groups[group].unready == 0 {
                self.unblock(group);
            }
        }
        Ok(())
    }

    fn run_merge(&mut self, level: usize, lane: usize) -> Result<(), EngineError> {
        let wanted = self.batch(self.merges[level][lane].len());
        let run = self.rows[level].take(wanted);
        let batch = self.warmed(run.len());
        let mut jobs = Vec::with_capacity(batch);
        let mut members = std::mem::take(&mut self.members);
        members.clear();
        let form = self.network.form();
        while jobs.len() < batch {
            let Some((id, who)) = self.merges[level][lane].pop() else { break };
            self.groups[id].rows(form, level - 1, who, |item| self.items[item].row.unwrap_or_default(), &mut members);
            pad(&mut members, (jobs.len() + 1) * lane);
            jobs.push((id, who));
        }
        pad_batch(&mut members, lane, batch);
        let clocks = Clocks::start();
        self.network.merge(level, &members, lane, run.start)?;
        self.account(Part::Stage(level), lane, clocks, jobs.len(), batch);
        self.members = members;
        for row in run.clone().skip(jobs.len()) {
            self.rows[level].give(row);
        }
        for (&(id, who), row) in jobs.iter().zip(run) {
            let mut nodes = self.groups[id].nodes.iter_mut();
            if let Some(node) = nodes.find(|n: &&mut Node| n.level == level && n.members == who) {
                node.row = Some(row);
            }
            self.unblock(id);
        }
        Ok(())
    }

    fn run_score(&mut self, lane: usize) -> Result<(), EngineError> {
        let batch = self.batch(self.tests[lane].len());
        let mut jobs = Vec::with_capacity(batch);
        let mut members = std::mem::take(&mut self.members);
        members.clear();
        let form = self.network.form();
        while jobs.len() < batch {
            let Some((id, ask)) = self.tests[lane].pop() else { break };
            let row_of = |item: usize| self.items[item].row.unwrap_or_default();
            self.groups[id].rows(form, form.top(), ask.members, row_of, &mut members);
            pad(&mut members, (jobs.len() + 1) * lane);
            jobs.push((id, ask));
        }
        pad_batch(&mut members, lane, batch);
        let (labels, stage) = (form.labels, form.levels.len());
        let mut scores = std::mem::take(&mut self.scores);
        scores.clear();
        let clocks = Clocks::start();
        self.network.score(&members, lane, &mut scores)?;
        self.account(Part::Stage(stage), lane, clocks, jobs.len(), batch);
        self.members = members;
        for (&(id, ask), scores) in jobs.iter().zip(scores.chunks(labels)) {
            self.observe(id, ask, scores)?;
        }
        self.scores = scores;
        Ok(())
    }

    /// Enters a run that just ended into the stats: `rows` that were wanted of a batch.
    pub(super) fn account(&mut self, part: Part, arity: usize, clocks: Clocks, rows: usize, batch: usize) {
        let (seconds, cpu) = (clocks.wall.elapsed(), thread_time() - clocks.cpu);
        let form = self.network.form();
        let (stats, macs) = match part {
            Part::Stage(stage) => {
                (&mut self.stats.stages[stage], form.levels.get(stage).map_or(form.score_macs, |level| level.macs))
            }
            Part::Confirm => (&mut self.stats.confirm, form.confirm_macs.unwrap_or_default()),
        };
        stats.runs += 1;
        stats.rows += rows as u64;
        stats.padding += (batch - rows) as u64;
        stats.seconds += seconds.as_secs_f64();
        stats.cpu_seconds += cpu.as_secs_f64();
        stats.macs += rows as u64 * macs;
        let expected = self.expected.as_ref().and_then(|seconds| seconds(part, arity, batch));
        stats.expected_seconds += expected.unwrap_or_default();
    }
}

/// When a run started, by the wall clock and by the thread's CPU clock.
pub(super) struct Clocks {
    wall: Instant,
    cpu: Duration,
}

impl Clocks {
    pub(super) fn start() -> Self {
        Self { wall: Instant::now(), cpu: thread_time() }
    }
}

/// Repeats the last member until there are `len`.
fn pad(members: &mut Vec<i64>, len: usize) {
    if let Some(&last) = members.last() {
        members.resize(len, last);
    }
}

/// Repeats the last test until there are `batch`.
fn pad_batch(members: &mut Vec<i64>, arity: usize, batch: usize) {
    while !members.is_empty() && members.len() < batch * arity {
        members.extend_from_within(members.len() - arity..);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Form, ScriptedNetwork, Settings, single_label_form};
    use crate::retest::{MultiRound, Thresholds};

    #[test]
    fn a_run_is_expected_to_take_what_was_measured_of_its_part_arity_and_batch() {
        let form = Form { confirm_macs: Some(1), ..single_label_form(8, 10, 100) };
        let buckets = vec![1, 8];
        let settings = Settings { max_batch: 8, preferred_batch: 8, buckets, max_wait: Duration::from_millis(1) };
        let plan = Box::new(MultiRound::new(&[3, 1]).unwrap());
        let thresholds = Thresholds::constant(0.5);
        let mut engine = Engine::new(ScriptedNetwork::new(form), plan, thresholds.clone(), settings)
            .with_confirm(thresholds)
            .with_expected(|part, arity, batch| match part {
                Part::Stage(stage) => Some((1000 * stage + 100 * arity + batch) as f64),
                Part::Confirm => None,
            });
        for score in [0.9, 0.1, 0.1] {
            engine.offer(vec![score], (), Instant::now()).unwrap();
        }
        while engine.step().unwrap() {}
        let stats = engine.stats();
        assert_eq!(stats.stages[0].expected_seconds, 108.0, "three images, rounded up to eight");
        // One test of three, padded to four; then three alone, rounded up to eight.
        assert_eq!(stats.stages[1].expected_seconds, 1401.0 + 1108.0);
        assert_eq!((stats.confirm.runs, stats.confirm.expected_seconds), (1, 0.0), "it was not measured");
    }

    /// How many runs it takes to find the one positive under a load that always fills a batch of stage 0; nothing if a hundred don't.
    fn runs_to_find(max_wait: Duration) -> Option<u32> {
        let settings = Settings { max_batch: 8, preferred_batch: 8, buckets: vec![], max_wait };
        let (network, plan) = (ScriptedNetwork::new(single_label_form(2000, 1, 1)), MultiRound::new(&[4, 1]).unwrap());
        let mut engine = Engine::new(network, Box::new(plan), Thresholds::constant(0.5), settings);
        (1..=100).find(|&run| {
            for item in 0..8 {
                let suspicion = if (run, item) == (1, 0) { 0.9 } else { 0.1 };
                engine.offer(vec![suspicion], (run, item), Instant::now()).unwrap();
            }
            assert!(engine.step().unwrap());
            engine.judged().any(|judged| judged.payload == (1, 0))
        })
    }

    #[test]
    fn a_retest_is_passed_over_eight_times_and_for_as_long_as_a_group_waits() {
        assert_eq!(
            runs_to_find(Duration::from_secs(3600)),
            None,
            "four retests are half a batch, and fuller ones never end"
        );
        // Four runs of stage 0 fill a batch of first tests, the fifth run is theirs; then the retests are passed over eight times.
        assert_eq!(runs_to_find(Duration::ZERO), Some(14));
    }
}
