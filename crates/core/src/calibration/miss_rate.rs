//! Estimates from audits of what pooling misses (pure).

use crate::interval::wilson;

/// Counts of what pooling decided and of what audits found.
///
/// ```
/// use dorfman_core::calibration::AuditCounts;
///
/// let counts = AuditCounts { flagged: 1500, cleared: 100_000, audited: 1000, found: 5 };
/// // 5 of 1,000 audits found a positive, so about 500 of 100,000 are missed, beside 1,500 flagged.
/// assert!((counts.miss_rate().unwrap().value - 0.25).abs() < 1e-12);
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct AuditCounts {
    /// Number of items that were flagged without an audit.
    pub flagged: u64,
    /// Number of items that pooling clears without an individual test, audited or not.
    pub cleared: u64,
    /// Number of items among `cleared` that were audited.
    pub audited: u64,
    /// Number of audits that flagged their item, at most `audited`.
    pub found: u64,
}

/// The share of positives that pooling misses, 0 to 1, with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MissRate {
    /// The estimate, 0 to 1.
    pub value: f64,
    /// The interval's lower end, 0 to `value`.
    pub low: f64,
    /// The interval's upper end, `value` to 1.
    pub high: f64,
}

impl AuditCounts {
    /// The share that pooling misses of the items that individual testing would flag. `None` before
    /// the first audit.
    ///
    /// Let a be the share of audits that flag their item. Then an estimated a times `cleared` items
    /// are missed, and `flagged` items are found. The interval is Wilson's for a ([`wilson`]);
    /// `cleared` and `flagged` are taken as exact. False positives of the individual test are
    /// counted too, because individual testing would flag them.
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
    fn audits_are_extrapolated_to_all_cleared_items() {
        // 5 of 1,000 audits flag their item, so 500 of 100,000 are missed, beside 1,500 flagged
        // ones.
        let audits = AuditCounts { flagged: 1500, cleared: 100_000, audited: 1000, found: 5 };
        let rate = audits.miss_rate().unwrap();
        assert!(
            (rate.value - 0.25).abs() < 1e-12 && rate.low < 0.25 && rate.high > 0.25,
            "{rate:?}"
        );
        let more = AuditCounts { audited: 10_000, found: 50, ..audits }.miss_rate().unwrap();
        assert!((more.value - 0.25).abs() < 1e-12 && more.high - more.low < rate.high - rate.low);
    }

    #[test]
    fn there_is_no_estimate_without_audits() {
        assert_eq!(
            AuditCounts { flagged: 3, cleared: 100, ..AuditCounts::default() }.miss_rate(),
            None
        );
        let clean =
            AuditCounts { flagged: 0, cleared: 100, audited: 10, found: 0 }.miss_rate().unwrap();
        assert_eq!((clean.value, clean.low), (0.0, 0.0));
    }
}
