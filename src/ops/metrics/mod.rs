//! The metrics in Prometheus's format, with the prefix `dorfman_` and in base units.

mod maker;
mod update;

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::core::{AtomicF64, GenericCounterVec};
use prometheus::{
    Encoder, GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Registry, TextEncoder,
};

use self::maker::{AGES, Maker, SECONDS, SHARES, opts};
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
    /// Seconds from the timestamp of an item's record to its verdict, by `verdict`.
    pub record_age: HistogramVec,
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
    /// 1 while the source reads no messages, because the queues of the worker are full.
    pub blocked: IntGauge,
    /// Partitions that the worker reads.
    pub partitions: IntGauge,
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

/// The values of the label `verdict`.
const VERDICTS: [&str; 3] = ["flagged", "cleared", "failed"];

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
                "stage",
                SHARES,
            )?,
            stage_seconds: m.histograms(
                "stage_seconds",
                "Seconds of one run of a stage.",
                "stage",
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
            record_age: m.histograms(
                "record_age_seconds",
                "Seconds from the timestamp of an item's record to its verdict.",
                "verdict",
                AGES,
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
            blocked: m.gauge(
                "source_blocked",
                "1 while the source reads no messages, because the queues of the worker are full.",
            )?,
            partitions: m
                .gauge("partitions_assigned", "Partitions that are assigned to the worker.")?,
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
        for verdict in VERDICTS {
            metrics.items.with_label_values(&[verdict]);
            metrics.record_age.with_label_values(&[verdict]);
        }
        for reason in Reason::ALL {
            metrics.dead_letters.with_label_values(&[reason.code()]);
        }
        Ok(metrics)
    }

    /// All metrics in Prometheus's text format.
    pub fn text(&self) -> String {
        let mut out = Vec::new();
        // Writing to memory cannot fail.
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }
}
