//! Sums over the life of an engine.

use super::network::NetworkPart;
use crate::calibration::AuditCounts;
use crate::policy::Round;

/// Expected seconds of a run, by part, arity and batch. `None` where no profile measured them.
pub(super) type ExpectedSeconds = Box<dyn Fn(NetworkPart, usize, usize) -> Option<f64> + Send>;

/// Sums over the life of one engine. They only grow. Fields without a unit are numbers of the
/// items, tests or groups that they name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stats {
    /// By stage, without the confirm network: one entry per level, and one for the last stage.
    pub stages: Vec<StageStats>,
    /// The confirm network.
    pub confirm: StageStats,
    /// The early exits, by level: all 0 for a level without an exit.
    pub exits: Vec<ExitStats>,
    /// Tests requested in each numbered round, without audits; index 0 is round 1. The last entry
    /// is the latest round so far.
    pub tests_by_round: Vec<u64>,
    /// Positive tests of each numbered round, without audits; index 0 is round 1. It may be shorter
    /// than `tests_by_round`.
    pub positives_by_round: Vec<u64>,
    /// Items that an exit has cleared, or whose policy has decided, by a verdict or by sending them
    /// to the confirm network.
    pub decided: u64,
    /// Items among `decided` that their policy flagged, before any confirm network and without
    /// audits.
    pub policy_flagged: u64,
    /// Items that pooling clears without an individual test, audited or not.
    pub pool_cleared: u64,
    /// Items among `pool_cleared`, or cleared by an exit or the screen, that have their verdict
    /// after an audit.
    pub audits: u64,
    /// Audits whose item was flagged, after any confirm network.
    pub audits_flagged: u64,
    /// Items that were flagged without an audit, after any confirm network.
    pub flagged_without_audit: u64,
    /// Items that were sent to the confirm network; some may not be tested yet.
    pub confirm_tests: u64,
    /// Items among `confirm_tests` with a label that passed the confirm network too.
    pub confirmed: u64,
    /// By risk band: one entry per band. Items that an exit cleared belong to no band.
    pub bands: Vec<BandStats>,
    /// Groups formed.
    pub groups: u64,
    /// Items admitted to the engine.
    pub items: u64,
}

/// Sums of one risk band.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct BandStats {
    /// Items of the band whose policy has decided.
    pub decided: u64,
    /// Items of the band, as [`Stats::policy_flagged`].
    pub flagged: u64,
}

/// Sums of one early exit, or of the screen.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ExitStats {
    /// Items that the exit has scored while it was in use, without items that an earlier exit had
    /// chosen for an audit.
    pub scored: u64,
    /// Items among `scored` that the exit cleared, audited or not.
    pub cleared: u64,
    /// Items among `cleared` that have their verdict after an audit.
    pub audits: u64,
    /// Audits whose item was flagged, after any confirm network.
    pub audits_flagged: u64,
}

/// Sums of one stage, or of the confirm network.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct StageStats {
    /// Number of runs of the stage.
    pub runs: u64,
    /// Number of rows computed, without padding.
    pub rows: u64,
    /// Number of rows computed only to fill a bucket.
    pub padding: u64,
    /// Seconds of all runs, by [`super::Clock::now`].
    pub seconds: f64,
    /// Seconds that a profile expects for the same runs ([`super::Engine::with_expected`]); 0
    /// without a profile. Runs that the profile does not cover count as 0.
    pub expected_seconds: f64,
    /// CPU seconds of the engine's own thread within `seconds`, by [`super::Clock::thread_time`]. A
    /// runtime's thread pool is not included.
    pub cpu_seconds: f64,
    /// Multiply-adds of `rows`, by [`super::NetworkShape::macs`].
    pub macs: u64,
}

/// One run of the network, measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct RunRecord {
    pub part: NetworkPart,
    pub rows: usize,
    pub padding: usize,
    pub seconds: f64,
    pub cpu_seconds: f64,
    pub expected_seconds: f64,
    pub macs: u64,
}

impl Stats {
    /// Sums of 0 for a network of `levels` levels and a number of risk bands.
    pub(super) fn new(levels: usize, bands: usize) -> Self {
        let stages = vec![StageStats::default(); levels + 1];
        let exits = vec![ExitStats::default(); levels];
        Self { stages, exits, bands: vec![BandStats::default(); bands], ..Self::default() }
    }

    /// Seconds in the network: all stages and the confirm network.
    pub fn network_seconds(&self) -> f64 {
        self.parts().map(|stage| stage.seconds).sum()
    }

    /// CPU seconds of the engine's own thread within [`Stats::network_seconds`].
    pub fn cpu_seconds(&self) -> f64 {
        self.parts().map(|stage| stage.cpu_seconds).sum()
    }

    /// Multiply-adds of all stages and the confirm network, without padding.
    pub fn macs(&self) -> u64 {
        self.parts().map(|stage| stage.macs).sum()
    }

    /// The number of tests: all rounds, finished audits and the confirm network.
    pub fn tests(&self) -> u64 {
        self.tests_by_round.iter().sum::<u64>() + self.audits + self.confirm_tests
    }

    /// The counts from which the miss rate of pooling is estimated.
    pub fn audit_counts(&self) -> AuditCounts {
        AuditCounts {
            flagged: self.flagged_without_audit,
            cleared: self.pool_cleared + self.exit_cleared(),
            audited: self.audits,
            found: self.audits_flagged,
        }
    }

    /// Items that the early exits have cleared, audited or not. The screen's are not included.
    pub fn exit_cleared(&self) -> u64 {
        self.exits.iter().map(|exit| exit.cleared).sum()
    }

    fn parts(&self) -> impl Iterator<Item = &StageStats> {
        self.stages.iter().chain([&self.confirm])
    }

    /// Adds a run.
    pub(super) fn add_run(&mut self, run: &RunRecord) {
        let stage = match run.part {
            NetworkPart::Stage(stage) => &mut self.stages[stage],
            NetworkPart::Confirm => &mut self.confirm,
            // The screen is not run by an engine.
            NetworkPart::Screen => return,
        };
        stage.runs += 1;
        stage.rows += run.rows as u64;
        stage.padding += run.padding as u64;
        stage.seconds += run.seconds;
        stage.cpu_seconds += run.cpu_seconds;
        stage.expected_seconds += run.expected_seconds;
        stage.macs += run.macs;
    }

    /// Counts an item whose policy has decided.
    pub(super) fn add_decision(&mut self, band: usize, flagged: bool) {
        let flagged = u64::from(flagged);
        self.decided += 1;
        self.policy_flagged += flagged;
        self.bands[band].decided += 1;
        self.bands[band].flagged += flagged;
    }

    /// Counts a verdict. `exit` is the exit or screen that cleared the item, or would have cleared
    /// it without an audit.
    pub(super) fn add_verdict(&mut self, exit: Option<NetworkPart>, audited: bool, flagged: bool) {
        self.flagged_without_audit += u64::from(flagged && !audited);
        if !audited {
            return;
        }
        self.audits += 1;
        self.audits_flagged += u64::from(flagged);
        if let Some(NetworkPart::Stage(level)) = exit
            && let Some(exit) = self.exits.get_mut(level)
        {
            exit.audits += 1;
            exit.audits_flagged += u64::from(flagged);
        }
    }

    /// Counts a requested test. Audits are counted with their item's verdict.
    pub(super) fn add_test(&mut self, round: Round) {
        count(&mut self.tests_by_round, round);
    }

    /// Counts a positive test.
    pub(super) fn add_positive_test(&mut self, round: Round) {
        count(&mut self.positives_by_round, round);
    }
}

fn count(sums: &mut Vec<u64>, round: Round) {
    let Some(number) = round.number() else { return };
    let index = usize::from(number.max(1)) - 1;
    if sums.len() <= index {
        sums.resize(index + 1, 0);
    }
    sums[index] += 1;
}
