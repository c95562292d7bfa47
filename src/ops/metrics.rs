//! The metrics in Prometheus's format, with the prefix `dorfman_` and in base units.

use std::time::{SystemTime, UNIX_EPOCH};

use dorfman_core::calibration::AuditCounts;
use dorfman_core::engine::{ExitStats, NetworkShape, StageStats, Stats};
use dorfman_core::planner::ExitShare;
use dorfman_core::screen::ScreenStats;
use prometheus::core::{AtomicF64, GenericCounterVec};
use prometheus::{
    Encoder, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::failure::Reason;

/// All metrics of one worker.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Messages read.
    pub received: IntCounter,
    /// Records without a payload, which name no image.
    pub tombstones: IntCounter,
    /// Messages that were deleted before they were read.
    pub skipped: IntCounter,
    /// Times that the consumer failed and was replaced.
    pub consumer_renewals: IntCounter,
    /// Times that the producer was replaced, because its records had no answer.
    pub producer_renewals: IntCounter,
    /// Verdicts, by `verdict`: flagged, cleared, failed.
    pub items: IntCounterVec,
    /// Flags, by `label`.
    pub flagged: IntCounterVec,
    /// Dead letters, by `reason`.
    pub dead_letters: IntCounterVec,
    /// Groups formed.
    pub groups: IntCounter,
    /// Tests, by `round`.
    pub tests: IntCounterVec,
    /// Positive tests, by `round`.
    pub positive_tests: IntCounterVec,
    /// Items that the confirm network tested.
    pub confirm_tests: IntCounter,
    /// Items that were positive in the confirm network.
    pub confirmed: IntCounter,
    /// Multiply-adds computed.
    pub macs: IntCounter,
    /// Multiply-adds saved in comparison with individual testing, without the confirm network.
    pub macs_saved: IntCounter,
    /// Seconds in the network, by `stage`.
    pub network_seconds: GenericCounterVec<AtomicF64>,
    /// Seconds that the profile expects for the same runs, by `stage`. No samples without a
    /// profile.
    pub expected_seconds: GenericCounterVec<AtomicF64>,
    /// Runs of a stage, by `stage`.
    pub runs: IntCounterVec,
    /// Rows computed, by `stage`.
    pub rows: IntCounterVec,
    /// Rows computed only to fill a bucket, by `stage`.
    pub padding_rows: IntCounterVec,
    /// Share of `engine.max_batch` that a run used, by `stage`.
    pub batch_fill: HistogramVec,
    /// Seconds of one run, by `stage`.
    pub stage_seconds: HistogramVec,
    /// Seconds from reading an item to its decoded pixels.
    pub decoded_age: Histogram,
    /// Seconds from reading an item to its verdict.
    pub verdict_age: Histogram,
    /// CPU seconds of fetching local bytes and of decoding, by `part`.
    pub ingest_cpu: GenericCounterVec<AtomicF64>,
    /// Items that the screen or an early exit scored while it was in use, by `exit`.
    pub exit_scored: IntCounterVec,
    /// Items that the screen or an early exit cleared, audited or not, by `exit`.
    pub exit_cleared: IntCounterVec,
    /// Share of the items scored by an exit that it should clear, by the calibration, by `exit`. No
    /// samples for exits that are not in use.
    pub exit_expected: GaugeVec,
    /// Items that a pooled test cleared, audited or not.
    pub pool_cleared: IntCounter,
    /// Items cleared by a pooled test or an exit that were audited.
    pub audits: IntCounter,
    /// Audits whose item was flagged.
    pub audits_flagged: IntCounter,
    /// Share of the images flagged by individual testing that pooling misses, estimated from
    /// audits. `bound` is estimate, low or high (95 %).
    pub miss_rate: GaugeVec,
    /// The estimated prevalence, if the worker chooses plans, by `band` (the least risk of the
    /// band).
    pub prevalence: GaugeVec,
    /// Group size of the present plan, by `band`.
    pub group_size: IntGaugeVec,
    /// Changes of the plan.
    pub replans: IntCounter,
    /// Expected cost of the present plan at the estimated prevalence, divided by the cost of
    /// individual testing, by `band`.
    pub planned_cost: GaugeVec,
    /// Items in the engine.
    pub in_flight: IntGauge,
    /// Batches that wait for a stage, by `stage`.
    pub queue: IntGaugeVec,
    /// Messages between the committed offset and the end of the partition, by `topic`, `partition`.
    pub lag: IntGaugeVec,
    /// Fetches that wait for the turn of their host.
    pub fetch_waiting: IntGauge,
    /// 1 while a store of images is down and the worker waits for it.
    pub fetch_outage: IntGauge,
    /// 1 while the partitions are paused.
    pub paused: IntGauge,
    /// Assignments and revocations.
    pub rebalances: IntCounter,
    /// Commits that the broker acknowledged.
    pub commits: IntCounter,
    /// Errors that the consumer reported.
    pub consumer_errors: IntCounter,
    /// 1 if a GPU is configured and the CPU is used.
    pub provider_fallback: IntGauge,
    /// 1 while the worker is ready (/readyz).
    pub ready: IntGauge,
}

const SECONDS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
    60.0,
];
const SHARES: &[f64] = &[0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0];

/// Creates and registers metrics. All names are constants of this file, so an error is a bug.
struct Maker(Registry);

impl Maker {
    fn add<C: prometheus::core::Collector + Clone + 'static>(
        &self,
        collector: prometheus::Result<C>,
    ) -> prometheus::Result<C> {
        let collector = collector?;
        self.0.register(Box::new(collector.clone()))?;
        Ok(collector)
    }

    fn counter(&self, name: &str, help: &str) -> prometheus::Result<IntCounter> {
        self.add(IntCounter::with_opts(opts(name, help)))
    }

    fn counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> prometheus::Result<IntCounterVec> {
        self.add(IntCounterVec::new(opts(name, help), labels))
    }

    fn gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        self.add(IntGauge::with_opts(opts(name, help)))
    }

    fn shares(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<GaugeVec> {
        self.add(GaugeVec::new(opts(name, help), labels))
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> prometheus::Result<IntGaugeVec> {
        self.add(IntGaugeVec::new(opts(name, help), labels))
    }

    fn histograms(
        &self,
        name: &str,
        help: &str,
        buckets: &[f64],
    ) -> prometheus::Result<HistogramVec> {
        let opts = HistogramOpts::new(name, help).namespace("dorfman").buckets(buckets.to_vec());
        self.add(HistogramVec::new(opts, &["stage"]))
    }

    fn histogram(&self, name: &str, help: &str, buckets: &[f64]) -> prometheus::Result<Histogram> {
        let opts = HistogramOpts::new(name, help).namespace("dorfman").buckets(buckets.to_vec());
        self.add(Histogram::with_opts(opts))
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(name, help).namespace("dorfman")
}

fn unix_seconds() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

impl Metrics {
    /// The metrics of a worker that runs a bundle by `plan` (in words).
    ///
    /// # Errors
    /// If a name in this file is invalid or not unique, which is a bug.
    pub fn new(bundle: &str, bundle_version: &str, plan: &str) -> prometheus::Result<Self> {
        let m = Maker(Registry::new());
        let info =
            m.gauges("build_info", "Always 1.", &["version", "bundle", "bundle_version", "plan"])?;
        info.with_label_values(&[env!("CARGO_PKG_VERSION"), bundle, bundle_version, plan]).set(1);
        m.gauge("start_time_seconds", "Start of the worker, in seconds since 1970.")?
            .set(unix_seconds());
        let network_seconds = GenericCounterVec::new(
            opts("network_seconds_total", "Seconds in the network."),
            &["stage"],
        );
        let expected_seconds = GenericCounterVec::new(
            opts(
                "network_expected_seconds_total",
                "Seconds that the profile expects for the same runs.",
            ),
            &["stage"],
        );
        let ingest_cpu = GenericCounterVec::new(
            opts(
                "ingest_cpu_seconds_total",
                "CPU seconds to read files (fetch) and to decode images.",
            ),
            &["part"],
        );
        let missed = "Share of the images flagged by individual testing that exits and pooling \
            miss, estimated from audits.";
        let metrics = Self {
            ingest_cpu: m.add(ingest_cpu)?,
            received: m.counter("messages_received_total", "Messages read from the topic.")?,
            tombstones: m.counter(
                "tombstones_total",
                "Records of the source topic without a payload. They name no image and are skipped.",
            )?,
            skipped: m.counter(
                "skipped_messages_total",
                "Messages of the source topic that were deleted before they were read.",
            )?,
            consumer_renewals: m.counter(
                "consumer_renewals_total",
                "Times that a consumer failed and a new one joined the consumer group.",
            )?,
            producer_renewals: m.counter(
                "producer_renewals_total",
                "Times that records were sent again by a new producer, because they had no answer.",
            )?,
            items: m.counters("items_total", "Items with a verdict.", &["verdict"])?,
            flagged: m.counters("flagged_total", "Flags published, by label.", &["label"])?,
            dead_letters: m.counters(
                "dead_letters_total",
                "Items that could not be scored.",
                &["reason"],
            )?,
            groups: m.counter("groups_total", "Groups formed.")?,
            tests: m.counters("tests_total", "Tests, by round.", &["round"])?,
            positive_tests: m.counters(
                "positive_tests_total",
                "Positive tests, by round.",
                &["round"],
            )?,
            confirm_tests: m
                .counter("confirm_tests_total", "Items tested by the confirm network.")?,
            confirmed: m
                .counter("confirmed_total", "Items that were positive in the confirm network.")?,
            macs: m.counter("network_macs_total", "Multiply-adds computed.")?,
            macs_saved: m.counter(
                "network_macs_saved_total",
                "Multiply-adds saved in comparison with individual testing.",
            )?,
            network_seconds: m.add(network_seconds)?,
            expected_seconds: m.add(expected_seconds)?,
            runs: m.counters("network_runs_total", "Runs of a stage.", &["stage"])?,
            rows: m.counters("network_rows_total", "Rows computed by a stage.", &["stage"])?,
            padding_rows: m.counters(
                "network_padding_rows_total",
                "Rows computed only to fill a bucket.",
                &["stage"],
            )?,
            batch_fill: m.histograms(
                "batch_fill_ratio",
                "Rows of a run divided by engine.max_batch.",
                SHARES,
            )?,
            stage_seconds: m.histograms(
                "stage_seconds",
                "Seconds of one run of a stage.",
                SECONDS,
            )?,
            decoded_age: m.histogram(
                "decoded_age_seconds",
                "Seconds from reading an item to its decoded pixels.",
                SECONDS,
            )?,
            verdict_age: m.histogram(
                "verdict_age_seconds",
                "Seconds from reading an item to its verdict.",
                SECONDS,
            )?,
            exit_scored: m.counters(
                "exit_scored_total",
                "Items scored by the screen or an early exit in use.",
                &["exit"],
            )?,
            exit_cleared: m.counters(
                "exit_cleared_total",
                "Items cleared by the screen or an early exit.",
                &["exit"],
            )?,
            exit_expected: m.shares(
                "exit_expected_cleared_ratio",
                "Share of the items scored by an exit that it should clear, by the calibration.",
                &["exit"],
            )?,
            pool_cleared: m.counter("pool_cleared_total", "Items cleared by a pooled test.")?,
            audits: m.counter(
                "audits_total",
                "Items cleared by a pooled test or an exit that were also tested alone.",
            )?,
            audits_flagged: m.counter("audits_flagged_total", "Audits whose item was flagged.")?,
            miss_rate: m.shares("audit_miss_rate", missed, &["bound"])?,
            prevalence: m.shares(
                "prevalence_estimate",
                "Estimated share of positives, if the worker chooses plans.",
                &["band"],
            )?,
            group_size: m.gauges(
                "plan_group_size",
                "Group size of the present plan.",
                &["band"],
            )?,
            replans: m.counter("plan_changes_total", "Changes of the plan.")?,
            planned_cost: m.shares(
                "plan_cost_ratio",
                "Expected cost of the plan divided by the cost of individual testing.",
                &["band"],
            )?,
            in_flight: m.gauge("engine_items", "Items in the engine.")?,
            queue: m.gauges("queue_batches", "Batches that wait for a stage.", &["stage"])?,
            lag: m.gauges(
                "consumer_lag_messages",
                "Messages between the last committed and the last offset.",
                &["topic", "partition"],
            )?,
            fetch_waiting: m
                .gauge("fetch_waiting", "Fetches that wait for the turn of their host.")?,
            fetch_outage: m.gauge(
                "fetch_outage",
                "1 while a store of images is down and nothing more is read.",
            )?,
            paused: m
                .gauge("partitions_paused", "1 while partitions are paused for back pressure.")?,
            rebalances: m
                .counter("rebalances_total", "Assignments and revocations of partitions.")?,
            commits: m.counter("commits_total", "Offset commits acknowledged by the broker.")?,
            consumer_errors: m
                .counter("consumer_errors_total", "Errors reported by the consumer.")?,
            provider_fallback: m
                .gauge("provider_fallback", "1 if a GPU is configured and the CPU is used.")?,
            ready: m.gauge("ready", "1 while the worker is ready (/readyz).")?,
            registry: m.0,
        };
        for verdict in ["flagged", "cleared", "failed"] {
            metrics.items.with_label_values(&[verdict]);
        }
        for reason in Reason::ALL {
            metrics.dead_letters.with_label_values(&[reason.code()]);
        }
        Ok(metrics)
    }

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

    /// All metrics in Prometheus's text format.
    pub fn text(&self) -> String {
        let mut out = Vec::new();
        // Writing to memory cannot fail.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut out);
        String::from_utf8_lossy(&out).into_owned()
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
