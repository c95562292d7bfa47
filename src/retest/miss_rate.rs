//! What audits say of all that pooling clears.

use crate::interval::wilson;

/// Counts of what pooling decided and of what audits found.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Audits {
    /// Items that were flagged without an audit.
    pub flagged: u64,
    /// Items that pooling would clear without an individual test, audited or not.
    pub cleared: u64,
    /// Those of them that were audited.
    pub audited: u64,
    /// Audits that flagged their item.
    pub found: u64,
}

/// An estimate with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MissRate {
    /// The estimate.
    pub value: f64,
    /// The interval's lower end.
    pub low: f64,
    /// The interval's upper end.
    pub high: f64,
}

impl Audits {
    /// The share of what individual testing would flag that pooling misses; none before the first audit, or if there is nothing to miss.
    ///
    /// A share a of the audits that find something stands for a times what is cleared: that much is missed, and `flagged` is found. The
    /// interval is Wilson's for a. False positives of the individual test count as well, as it would flag them.
    pub fn miss_rate(&self) -> Option<MissRate> {
        if self.audited == 0 {
            return None;
        }
        let (found, audited) = (self.found as f64, self.audited as f64);
        let rate = |share: f64| {
            let missed = share * self.cleared as f64;
            let all = missed + self.flagged as f64;
            if all > 0.0 { missed / all } else { 0.0 }
        };
        let [low, high] = wilson(found, audited);
        Some(MissRate { value: rate(found / audited), low: rate(low), high: rate(high) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audits_stand_for_all_that_is_cleared() {
        // 5 of 1,000 audits found something, so 500 of 100,000 are missed, beside 1,500 that were found.
        let audits = Audits { flagged: 1500, cleared: 100_000, audited: 1000, found: 5 };
        let rate = audits.miss_rate().unwrap();
        assert!((rate.value - 0.25).abs() < 1e-12 && rate.low < 0.25 && rate.high > 0.25, "{rate:?}");
        let more = Audits { audited: 10_000, found: 50, ..audits }.miss_rate().unwrap();
        assert!((more.value - 0.25).abs() < 1e-12 && more.high - more.low < rate.high - rate.low);
    }

    #[test]
    fn nothing_is_known_without_audits() {
        assert_eq!(Audits { flagged: 3, cleared: 100, ..Audits::default() }.miss_rate(), None);
        let clean = Audits { flagged: 0, cleared: 100, audited: 10, found: 0 }.miss_rate().unwrap();
        assert_eq!((clean.value, clean.low), (0.0, 0.0));
    }
}
