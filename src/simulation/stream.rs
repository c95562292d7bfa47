//! How positives come.

use fastrand::Rng;

use super::risk::Band;

/// More positives for a while.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Burst {
    /// By what the prevalence is multiplied.
    pub factor: f64,
    /// The first hour of it, from 0.
    pub from: usize,
    /// How many hours it lasts.
    pub hours: usize,
}

/// A stream of images, hour by hour.
#[derive(Debug, Clone, PartialEq)]
pub struct Stream {
    /// Share of positives.
    pub prevalence: f64,
    /// Hours in which there are more.
    pub burst: Option<Burst>,
    /// The probability that an image after a positive one is positive too, whatever the prevalence: an album, an uploader. 0: they come
    /// independently.
    pub correlation: f64,
    /// Images an hour.
    pub rate: u64,
    /// Hours.
    pub hours: usize,
}

impl Stream {
    /// The share of positives in an hour.
    pub fn prevalence(&self, hour: usize) -> f64 {
        match self.burst {
            Some(b) if (b.from..b.from + b.hours).contains(&hour) => (self.prevalence * b.factor).min(1.0),
            _ => self.prevalence,
        }
    }
}

impl Stream {
    /// The images of one band of risk, whose positives are more or fewer all day.
    pub fn band(&self, band: &Band) -> Self {
        let rate = (self.rate as f64 * band.share).round().max(1.0) as u64;
        Self { prevalence: band.prevalence, rate, ..self.clone() }
    }
}

/// Says where the positives are, one draw a run of negatives.
#[derive(Debug)]
pub(super) struct Positives {
    correlation: f64,
    prevalence: f64,
    /// The probability that a positive follows a negative, if they are correlated.
    start: f64,
    /// Negatives before the next positive.
    ahead: u64,
    after_positive: bool,
}

impl Positives {
    pub(super) fn new(prevalence: f64, correlation: f64, rng: &mut Rng) -> Self {
        let mut new = Self { correlation, prevalence, start: 0.0, ahead: 0, after_positive: false };
        new.change(prevalence, rng);
        new
    }

    /// Another prevalence from here on. Runs of positives last 1 / (1 - correlation) on average, so the runs must start more rarely.
    pub(super) fn change(&mut self, prevalence: f64, rng: &mut Rng) {
        let p = prevalence;
        self.prevalence = p;
        self.start = (p * (1.0 - self.correlation) / (1.0 - p).max(1e-12)).min(1.0);
        if !self.after_positive || self.correlation == 0.0 {
            self.ahead = geometric(if self.correlation == 0.0 { p } else { self.start }, rng);
        }
    }

    /// The positions of the positives among the next `size` images.
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

    /// Negatives between a positive and the next.
    fn gap(&self, rng: &mut Rng) -> u64 {
        if self.correlation > 0.0 {
            return if rng.f64() < self.correlation { 0 } else { 1 + geometric(self.start, rng) };
        }
        geometric(self.prevalence, rng)
    }
}

/// How often something of probability `p` fails before it succeeds.
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
        let mut positives = Positives::new(prevalence, correlation, &mut rng);
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
    fn positives_are_as_frequent_and_as_close_as_asked() {
        for (p, correlation, size) in [(0.01, 0.0, 16), (0.3, 0.0, 7), (0.7, 0.0, 8), (0.01, 0.6, 16), (0.05, 0.3, 1)] {
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
