//! What the stages report: sums of the engine and of the screen, plans, dead letters.

use dorfman_core::calibration::AuditCounts;
use dorfman_core::engine::{ExitStats, NetworkShape, StageStats, Stats};
use dorfman_core::planner::ExitShare;
use dorfman_core::screen::ScreenStats;

use super::{Metrics, VERDICTS};
use crate::failure::Reason;

impl Metrics {
    /// Sets the metrics of a risk band whose plan the worker chooses.
    pub fn plan(&self, band: &str, prevalence: f64, cost: f64, group_size: usize) {
        self.prevalence.with_label_values(&[band]).set(prevalence);
        self.planned_cost.with_label_values(&[band]).set(cost);
        self.group_size.with_label_values(&[band]).set(group_size as i64);
    }

    /// Sets the expected shares of the exits in use.
    pub fn expected_exits(&self, exits: &[ExitShare]) {
        self.exit_expected.reset();
        for exit in exits.iter().filter(|exit| exit.scored > 0.0) {
            let share = exit.cleared / exit.scored;
            self.exit_expected.with_label_values(&[&exit.part.to_string()]).set(share);
        }
    }

    /// Items with a verdict or a dead letter.
    pub fn judged(&self) -> u64 {
        VERDICTS.iter().map(|verdict| self.items.with_label_values(&[*verdict]).get()).sum()
    }

    /// Counts a dead letter.
    pub fn dead_letter(&self, reason: Reason) {
        self.dead_letters.with_label_values(&[reason.code()]).inc();
    }

    /// Adds the difference of two sums of a screen.
    pub fn screen(&self, before: &ScreenStats, now: &ScreenStats, max_batch: usize) {
        self.stage("screen", &before.stage, &now.stage, max_batch);
        self.macs.inc_by(now.stage.macs - before.stage.macs);
        self.exit("screen", &before.exit, &now.exit);
    }

    fn exit(&self, name: &str, was: &ExitStats, now: &ExitStats) {
        if now.scored > was.scored {
            self.exit_scored.with_label_values(&[name]).inc_by(now.scored - was.scored);
            self.exit_cleared.with_label_values(&[name]).inc_by(now.cleared - was.cleared);
        }
    }

    /// Sets the miss rate that the audits show. `screened` is the number of items that the screen
    /// has cleared.
    pub fn audits(&self, stats: &Stats, screened: u64) {
        let counts = stats.audit_counts();
        let counts = AuditCounts { cleared: counts.cleared + screened, ..counts };
        if counts.audited == self.audits.get() {
            return;
        }
        let Some(rate) = counts.miss_rate() else { return };
        for (bound, value) in [("estimate", rate.value), ("low", rate.low), ("high", rate.high)] {
            self.miss_rate.with_label_values(&[bound]).set(value);
        }
    }

    /// Counts the multiply-adds saved by an engine and the screen before it. `screened` is the
    /// number of items that the screen has cleared without an audit: they never reach the engine.
    /// `screen` has the sums of the screen.
    ///
    /// Items are counted before their tests run. The saving is therefore computed from the totals,
    /// and the counter never falls.
    pub fn saved(&self, stats: &Stats, screened: u64, screen: &ScreenStats, shape: &NetworkShape) {
        let individual = (stats.items + screened) * shape.individual_macs();
        let spent = stats.macs() - stats.confirm.macs + screen.stage.macs;
        let saved = individual.saturating_sub(spent);
        self.macs_saved.inc_by(saved.saturating_sub(self.macs_saved.get()));
    }

    /// Adds the difference of two sums of an engine. The confirm network is the stage `confirm`.
    pub fn engine(&self, before: &Stats, now: &Stats, max_batch: usize) {
        self.groups.inc_by(now.groups - before.groups);
        for (sums, was, counters) in [
            (&now.tests_by_round, &before.tests_by_round, &self.tests),
            (&now.positives_by_round, &before.positives_by_round, &self.positive_tests),
        ] {
            for (i, sum) in sums.iter().enumerate() {
                let added = sum - was.get(i).copied().unwrap_or(0);
                if added > 0 {
                    counters.with_label_values(&[(i + 1).to_string()]).inc_by(added);
                }
            }
        }
        self.pool_cleared.inc_by(now.pool_cleared - before.pool_cleared);
        self.audits.inc_by(now.audits - before.audits);
        self.audits_flagged.inc_by(now.audits_flagged - before.audits_flagged);
        self.confirm_tests.inc_by(now.confirm_tests - before.confirm_tests);
        self.confirmed.inc_by(now.confirmed - before.confirmed);
        self.macs.inc_by(now.macs() - before.macs());
        for (i, (stage, was)) in now.stages.iter().zip(&before.stages).enumerate() {
            self.stage(&i.to_string(), was, stage, max_batch);
        }
        self.stage("confirm", &before.confirm, &now.confirm, max_batch);
        for (i, (exit, was)) in now.exits.iter().zip(&before.exits).enumerate() {
            self.exit(&i.to_string(), was, exit);
        }
    }

    fn stage(&self, name: &str, was: &StageStats, now: &StageStats, max_batch: usize) {
        let runs = now.runs - was.runs;
        if runs == 0 {
            return;
        }
        let label = [name];
        let rows = now.rows - was.rows;
        let seconds = now.seconds - was.seconds;
        self.runs.with_label_values(&label).inc_by(runs);
        self.rows.with_label_values(&label).inc_by(rows);
        self.padding_rows.with_label_values(&label).inc_by(now.padding - was.padding);
        self.network_seconds.with_label_values(&label).inc_by(seconds);
        let expected = now.expected_seconds - was.expected_seconds;
        if expected > 0.0 {
            self.expected_seconds.with_label_values(&label).inc_by(expected);
        }
        self.stage_seconds.with_label_values(&label).observe(seconds / runs as f64);
        self.batch_fill
            .with_label_values(&label)
            .observe(rows as f64 / (runs as usize * max_batch) as f64);
    }
}

#[cfg(test)]
mod tests {
    use dorfman_core::engine::single_label_shape;

    use super::*;

    #[test]
    fn the_work_of_an_engine_is_counted_once() {
        let m = Metrics::new("b", "1", "16 > 1").unwrap();
        let stage =
            StageStats { runs: 1, rows: 16, seconds: 0.5, macs: 160, ..StageStats::default() };
        let test = StageStats {
            runs: 1,
            rows: 1,
            padding: 3,
            seconds: 0.25,
            macs: 100,
            ..StageStats::default()
        };
        let test = StageStats { expected_seconds: 0.5, ..test };
        let zero = Stats { stages: vec![StageStats::default(); 2], ..Stats::default() };
        let now = Stats {
            stages: vec![stage, test],
            tests_by_round: vec![1],
            items: 16,
            groups: 1,
            ..Stats::default()
        };
        let confirm = StageStats { runs: 1, rows: 2, macs: 2000, ..StageStats::default() };
        let now = Stats { confirm, confirm_tests: 2, confirmed: 1, ..now };
        let shape = single_label_shape(64, 10, 100);
        m.engine(&zero, &now, 64);
        m.engine(&now, &now, 64);
        (0..2).for_each(|_| m.saved(&now, 0, &ScreenStats::default(), &shape));
        assert_eq!(m.macs.get(), 2260);
        assert_eq!(m.macs_saved.get(), 16 * 110 - 260);
        // The screen was switched on after these 16 items, and cleared 3 of 4.
        let exit = ExitStats { scored: 4, cleared: 3, ..ExitStats::default() };
        let screen = ScreenStats { exit, stage: StageStats { macs: 40, ..StageStats::default() } };
        m.saved(&now, 3, &screen, &shape);
        assert_eq!(m.macs_saved.get(), (16 + 3) * 110 - 260 - 40);
        let text = m.text();
        assert!(text.contains("dorfman_tests_total{round=\"1\"} 1"), "{text}");
        assert!(text.contains("dorfman_network_padding_rows_total{stage=\"1\"} 3"));
        assert!(text.contains("dorfman_network_rows_total{stage=\"confirm\"} 2"));
        assert!(text.contains("dorfman_network_expected_seconds_total{stage=\"1\"} 0.5"));
        assert!(
            !text.contains("dorfman_network_expected_seconds_total{stage=\"0\"}"),
            "no profile"
        );
        assert_eq!((m.confirm_tests.get(), m.confirmed.get()), (2, 1));
        assert!(text.contains("dorfman_dead_letters_total{reason=\"malformed\"} 0"));
    }
}
