//! What the engine did, in sums that only grow.

use super::network::Part;
use crate::retest::Audits;

/// Seconds that a run should take, by its part, arity and batch; none where that was not measured before.
pub(super) type Expected = Box<dyn Fn(Part, usize, usize) -> Option<f64> + Send>;

/// Sums over one engine's life.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stats {
    /// Stage by stage, without the confirm network.
    pub stages: Vec<StageStats>,
    /// The confirm network.
    pub confirm: StageStats,
    /// Tests asked for in each round; index 0 is round 1.
    pub tests_by_round: Vec<u64>,
    /// Positive tests of each round.
    pub positives_by_round: Vec<u64>,
    /// Items that the policies are done with.
    pub settled: u64,
    /// Items among them that the policies flagged, before any confirm network and without audits.
    pub flagged: u64,
    /// Items that pooling would clear without an individual test, whether they were audited or not.
    pub pool_cleared: u64,
    /// Items among them that have their verdict after an audit.
    pub audits: u64,
    /// Audits whose item was flagged in the end.
    pub audits_flagged: u64,
    /// Items that were flagged in the end without an audit.
    pub flags: u64,
    /// Items that were passed on to the confirm network.
    pub confirm_tests: u64,
    /// Items that it found positive too.
    pub confirmed: u64,
    /// Settled and flagged by band of risk.
    pub bands: Vec<BandStats>,
    /// Groups formed.
    pub groups: u64,
    /// Items taken.
    pub items: u64,
}

/// Sums for one band of risk.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct BandStats {
    /// As [`Stats::settled`].
    pub settled: u64,
    /// As [`Stats::flagged`].
    pub flagged: u64,
}

/// Sums for one stage.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct StageStats {
    /// Times the stage was run.
    pub runs: u64,
    /// Rows computed that were wanted.
    pub rows: u64,
    /// Rows computed to fill a bucket.
    pub padding: u64,
    /// Seconds spent in it.
    pub seconds: f64,
    /// Seconds that the same runs should have taken, by what was measured before; 0 where nothing was.
    pub expected_seconds: f64,
    /// CPU seconds of the engine's own thread among those spent; a runtime's thread pool comes on top.
    pub cpu_seconds: f64,
    /// Multiply-adds of the wanted rows.
    pub macs: u64,
}

impl Stats {
    /// Seconds in the network, all stages and the confirm network.
    pub fn network_seconds(&self) -> f64 {
        self.parts().map(|s| s.seconds).sum()
    }

    /// CPU seconds of the engine's own thread among them.
    pub fn cpu_seconds(&self) -> f64 {
        self.parts().map(|s| s.cpu_seconds).sum()
    }

    /// Multiply-adds, all stages and the confirm network.
    pub fn macs(&self) -> u64 {
        self.parts().map(|s| s.macs).sum()
    }

    /// Tests, all rounds, the audits' and the confirm network's.
    pub fn tests(&self) -> u64 {
        self.tests_by_round.iter().sum::<u64>() + self.audits + self.confirm_tests
    }

    /// What the audits were of and what they found.
    pub fn audited(&self) -> Audits {
        Audits { flagged: self.flags, cleared: self.pool_cleared, audited: self.audits, found: self.audits_flagged }
    }

    fn parts(&self) -> impl Iterator<Item = &StageStats> {
        self.stages.iter().chain([&self.confirm])
    }

    /// Counts an item that its policy is done with.
    pub(super) fn settle(&mut self, band: usize, flagged: bool) {
        let flagged = u64::from(flagged);
        (self.settled, self.flagged) = (self.settled + 1, self.flagged + flagged);
        let band = &mut self.bands[band];
        (band.settled, band.flagged) = (band.settled + 1, band.flagged + flagged);
    }

    pub(super) fn count(sums: &mut Vec<u64>, round: u8) {
        let index = usize::from(round.max(1)) - 1;
        if sums.len() <= index {
            sums.resize(index + 1, 0);
        }
        sums[index] += 1;
    }
}
