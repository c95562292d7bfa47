//! How positives arrive in a simulated stream (pure).

use fastrand::Rng;

use super::risk::Band;

/// Hours with more positives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Burst {
    /// The factor by which the prevalence is multiplied, 0 or more. The product is capped at 1.
    pub factor: f64,
    /// The first hour of the burst, from 0.
    pub from: usize,
    /// The length of the burst, in hours.
    pub hours: usize,
}

/// A stream of items, hour by hour.
#[derive(Debug, Clone, PartialEq)]
pub struct Stream {
    /// Share of positives, above 0 and below 1.
    pub prevalence: f64,
    /// Hours with more positives, if any.
    pub burst: Option<Burst>,
    /// The probability that the item after a positive one is positive too, regardless of the
    /// prevalence (an album, an uploader). From 0 (positives arrive independently) to below 1.
    pub correlation: f64,
    /// Items per hour.
    pub rate: u64,
    /// The length of the stream, in hours.
    pub hours: usize,
}

impl Stream {
    /// The share of positives, 0 to 1, in `hour` (counted from 0), with the burst.
    pub fn prevalence(&self, hour: usize) -> f64 {
        match self.burst {
            Some(b) if (b.from..b.from + b.hours).contains(&hour) => {
                (self.prevalence * b.factor).min(1.0)
            }
            _ => self.prevalence,
        }
    }

    /// The stream of the items of one risk band, with the prevalence of that band and its share of
    /// the items per hour (at least 1). Burst, correlation and hours are the same.
    pub fn band(&self, band: &Band) -> Self {
        let rate = (self.rate as f64 * band.share).round().max(1.0) as u64;
        Self { prevalence: band.prevalence, rate, ..self.clone() }
    }
}

/// Draws the positions of positives, with one draw per run of negatives.
#[derive(Debug)]
pub(super) struct PositivePositions {
    correlation: f64,
    prevalence: f64,
    /// The probability that a positive follows a negative, if they are correlated.
    start: f64,
    /// Negatives before the next positive.
    ahead: u64,
    after_positive: bool,
}

impl PositivePositions {
    pub(super) fn new(prevalence: f64, correlation: f64, rng: &mut Rng) -> Self {
        let mut new = Self { correlation, prevalence, start: 0.0, ahead: 0, after_positive: false };
        new.change(prevalence, rng);
        new
    }

    /// Sets the prevalence from here on. Runs of positives have a mean length of 1 / (1 -
    /// correlation), so runs start accordingly more rarely.
    pub(super) fn change(&mut self, prevalence: f64, rng: &mut Rng) {
        let p = prevalence;
        self.prevalence = p;
        self.start = (p * (1.0 - self.correlation) / (1.0 - p).max(1e-12)).min(1.0);
        if !self.after_positive || self.correlation == 0.0 {
            self.ahead = geometric(if self.correlation == 0.0 { p } else { self.start }, rng);
        }
    }

    /// Writes the positions of the positives among the next `size` items into `out`.
    pub(super) fn next(&mut self, size: usize, rng: &mut Rng, out: &mut Vec<usize>) {
        out.clear();
        let mut place = 0u64;
        while place + self.ahead < size as u64 {
            place += self.ahead;
            out.push(place as usize);
            place += 1;
            self.ahead = self.gap(rng);
        }
        self.ahead -= size as u64 - place;
        self.after_positive = out.last() == Some(&(size - 1));
    }

    /// The number of negatives between a positive and the next one.
    fn gap(&self, rng: &mut Rng) -> u64 {
        if self.correlation > 0.0 {
            return if rng.f64() < self.correlation { 0 } else { 1 + geometric(self.start, rng) };
        }
        geometric(self.prevalence, rng)
    }
}

/// The number of failures before the first success of trials with probability `p`.
fn geometric(p: f64, rng: &mut Rng) -> u64 {
    if p >= 1.0 {
        return 0;
    }
    let u = 1.0 - rng.f64(); // never 0
    (u.ln() / (-p).ln_1p()).min(1e15) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(prevalence: f64, correlation: f64, size: usize) -> (f64, f64) {
        let mut rng = Rng::with_seed(1);
        let mut positives = PositivePositions::new(prevalence, correlation, &mut rng);
        let mut out = Vec::new();
        let (mut found, mut followed, mut last) = (0u64, 0u64, None);
        let groups = 2_000_000 / size;
        for group in 0..groups {
            positives.next(size, &mut rng, &mut out);
            for place in out.iter().map(|p| group * size + p) {
                followed += u64::from(last.is_some_and(|l| l + 1 == place));
                found += 1;
                last = Some(place);
            }
        }
        (found as f64 / (groups * size) as f64, followed as f64 / found as f64)
    }

    #[test]
    fn positives_have_the_given_frequency_and_correlation() {
        for (p, correlation, size) in
            [(0.01, 0.0, 16), (0.3, 0.0, 7), (0.7, 0.0, 8), (0.01, 0.6, 16), (0.05, 0.3, 1)]
        {
            let (share, followed) = drawn(p, correlation, size);
            assert!((share / p - 1.0).abs() < 0.05, "{p} {correlation}: {share}");
            let wanted = if correlation > 0.0 { correlation } else { p };
            assert!((followed - wanted).abs() < 0.02, "{p} {correlation}: {followed}");
        }
    }

    #[test]
    fn a_burst_multiplies() {
        let burst = Some(Burst { factor: 10.0, from: 3, hours: 2 });
        let stream = Stream { prevalence: 0.002, burst, correlation: 0.0, rate: 1, hours: 24 };
        assert_eq!([2, 3, 4, 5].map(|h| stream.prevalence(h)), [0.002, 0.02, 0.02, 0.002]);
    }
}
