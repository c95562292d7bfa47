//! The screen: a small network that tests every image first, alone, on an input of its own.
//!
//! The screen is the mirror of the confirm network. It runs before an image is decoded in full, so
//! it is not a part of the engine: an image that the screen clears never reaches the engine. The
//! others are offered to it with the risk that follows from the screen's score.

use std::time::{Duration, Instant};

use crate::engine::{AuditSampler, Clock, ExitRule, ExitStats, NetworkPart, RunError, StageStats};

/// A network that scores single images.
pub trait ScreenNetwork: Send {
    /// Scores per image, one per label. At least 1.
    fn labels(&self) -> usize;

    /// Multiply-adds per image.
    fn macs(&self) -> u64;

    /// Scores `N` preprocessed images and appends the scores `[N, labels]` to `scores`, row by row.
    /// A score is 0 to 1, or NaN if it could not be computed.
    ///
    /// # Errors
    /// [`RunError`]; `scores` is then undefined.
    fn score(&mut self, images: &[&[u8]], scores: &mut Vec<f32>) -> Result<(), RunError>;
}

impl<N: ScreenNetwork + ?Sized> ScreenNetwork for Box<N> {
    fn labels(&self) -> usize {
        (**self).labels()
    }

    fn macs(&self) -> u64 {
        (**self).macs()
    }

    fn score(&mut self, images: &[&[u8]], scores: &mut Vec<f32>) -> Result<(), RunError> {
        (**self).score(images, scores)
    }
}

/// What the screen says about an image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Screened {
    /// The image is cleared. Holds the score, 0 to 1.
    Cleared(f32),
    /// The image would be cleared, but is audited: it is tested alone
    /// ([`crate::engine::ItemPrior::audit`]).
    Audit,
    /// The image passes. Holds its risk, 0 to 1, where the screen says something about it.
    Passed(Option<f32>),
}

/// Sums over the life of a screen. They only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ScreenStats {
    /// Images scored and cleared. The audits are not counted here: the engine gives their verdicts.
    pub exit: ExitStats,
    /// The runs of the screen.
    pub stage: StageStats,
}

/// A screen network with its rule.
///
/// ```
/// use std::time::Instant;
///
/// use dorfman_core::calibration::Thresholds;
/// use dorfman_core::engine::{AuditSampler, ExitRule, ManualClock};
/// use dorfman_core::screen::{Screen, ScreenNetwork, Screened};
///
/// /// The score of an image is its first pixel, in percent.
/// struct FirstPixel;
///
/// impl ScreenNetwork for FirstPixel {
///     fn labels(&self) -> usize {
///         1
///     }
///     fn macs(&self) -> u64 {
///         5
///     }
///     fn score(
///         &mut self,
///         images: &[&[u8]],
///         scores: &mut Vec<f32>,
///     ) -> Result<(), dorfman_core::engine::RunError> {
///         scores.extend(images.iter().map(|image| f32::from(image[0]) / 100.0));
///         Ok(())
///     }
/// }
///
/// let rule = ExitRule { thresholds: Some(Thresholds::constant(0.1)), evidence: None };
/// let clock = ManualClock::new(Instant::now());
/// let mut screen = Screen::new(FirstPixel, clock, rule, AuditSampler::new(0.0, 1));
/// let screened = screen.run(&[&[5], &[20]], |_| 0.001)?;
/// assert_eq!(screened, [Screened::Cleared(0.05), Screened::Passed(None)]);
/// # Ok::<(), dorfman_core::engine::RunError>(())
/// ```
pub struct Screen<N> {
    network: N,
    clock: Box<dyn Clock>,
    rule: ExitRule,
    audits: AuditSampler,
    stats: ScreenStats,
    expected: Option<ExpectedSeconds>,
    /// Rising batch sizes to which runs are filled up. Empty: runs have the size of their batch.
    buckets: Vec<usize>,
    scores: Vec<f32>,
}

/// The expected seconds of a run, by its number of images.
type ExpectedSeconds = Box<dyn Fn(usize) -> Option<f64> + Send>;

impl<N: ScreenNetwork> Screen<N> {
    /// A screen that clears images by `rule`. `audits` chooses the images that are tested although
    /// the screen would clear them.
    pub fn new(
        network: N,
        clock: impl Clock + 'static,
        rule: ExitRule,
        audits: AuditSampler,
    ) -> Self {
        Self {
            network,
            clock: Box::new(clock),
            rule,
            audits,
            stats: ScreenStats::default(),
            expected: None,
            buckets: Vec::new(),
            scores: Vec::new(),
        }
    }

    /// Fills runs up to the next of these rising batch sizes, by repeating the last image. A device
    /// that prepares each batch size then prepares only these.
    pub fn with_buckets(mut self, buckets: Vec<usize>) -> Self {
        self.buckets = buckets;
        self
    }

    /// Adds expected seconds to the stats: `seconds(images)` is called once per run. `None` counts
    /// as 0 seconds.
    pub fn with_expected(
        mut self,
        seconds: impl Fn(usize) -> Option<f64> + Send + 'static,
    ) -> Self {
        self.expected = Some(Box::new(seconds));
        self
    }

    /// Replaces the rule.
    pub fn set_rule(&mut self, rule: ExitRule) {
        self.rule = rule;
    }

    /// The network.
    pub fn network_mut(&mut self) -> &mut N {
        &mut self.network
    }

    /// Sums over the life of the screen.
    pub fn stats(&self) -> &ScreenStats {
        &self.stats
    }

    /// Runs the network once on `images` and says what becomes of each: `[images]`. `prior(i)` is
    /// the prior risk of image `i`, 0 to 1.
    ///
    /// # Errors
    /// [`RunError`] if the network fails.
    pub fn run(
        &mut self,
        images: &[&[u8]],
        prior: impl Fn(usize) -> f32,
    ) -> Result<Vec<Screened>, RunError> {
        if images.is_empty() {
            return Ok(Vec::new());
        }
        self.scores.clear();
        let count = images.len();
        let batch = self.buckets.iter().copied().find(|&size| size >= count).unwrap_or(count);
        let mut filled = images.to_vec();
        filled.resize(batch, images[count - 1]);
        let (wall, cpu) = (self.clock.now(), self.clock.thread_time());
        self.network.score(&filled, &mut self.scores)?;
        self.count_run(count, batch, wall, cpu);
        let labels = self.network.labels();
        if self.scores.len() != batch * labels {
            let message = format!("{} scores of {batch} images", self.scores.len());
            return Err(RunError { part: NetworkPart::Screen, message });
        }
        self.scores.truncate(count * labels);
        let scores = std::mem::take(&mut self.scores);
        let rows = scores.chunks(labels).enumerate();
        let screened = rows.map(|(i, scores)| self.decide(scores, prior(i))).collect();
        self.scores = scores;
        Ok(screened)
    }

    fn decide(&mut self, scores: &[f32], prior: f32) -> Screened {
        self.stats.exit.scored += 1;
        if !self.rule.clears(scores) {
            return Screened::Passed(self.rule.risk(prior, scores));
        }
        self.stats.exit.cleared += 1;
        if self.audits.chooses() {
            return Screened::Audit;
        }
        Screened::Cleared(self.rule.score(scores))
    }

    fn count_run(&mut self, images: usize, batch: usize, wall: Instant, cpu: Duration) {
        let stage = &mut self.stats.stage;
        stage.runs += 1;
        stage.rows += images as u64;
        stage.padding += (batch - images) as u64;
        stage.seconds += (self.clock.now() - wall).as_secs_f64();
        stage.cpu_seconds += (self.clock.thread_time() - cpu).as_secs_f64();
        let expected = self.expected.as_ref().and_then(|seconds| seconds(images));
        stage.expected_seconds += expected.unwrap_or_default();
        stage.macs += images as u64 * self.network.macs();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::Thresholds;
    use crate::engine::{ManualClock, scripted_score};

    /// Scores an image by its bytes.
    struct Values(usize);

    impl ScreenNetwork for Values {
        fn labels(&self) -> usize {
            self.0
        }

        fn macs(&self) -> u64 {
            7
        }

        fn score(&mut self, images: &[&[u8]], scores: &mut Vec<f32>) -> Result<(), RunError> {
            scores.extend(images.iter().copied().flatten().map(|&byte| scripted_score(byte)));
            Ok(())
        }
    }

    fn screen(labels: usize, audits: f64) -> Screen<Values> {
        let thresholds = Thresholds::new((0..labels).collect(), |_, label| [0.2, 0.5][label]);
        let rule = ExitRule { thresholds: Some(thresholds), evidence: None };
        let clock = ManualClock::new(Instant::now());
        Screen::new(Values(labels), clock, rule, AuditSampler::new(audits, 3))
    }

    #[test]
    fn an_image_passes_if_any_label_does() {
        let mut screen = screen(2, 0.0);
        let images: [&[u8]; 4] = [&[10, 30], &[20, 0], &[0, 50], &[0, 255]];
        let screened = screen.run(&images, |_| 0.01).unwrap();
        let passed = Screened::Passed(None);
        assert_eq!(screened, [Screened::Cleared(0.1), passed, passed, passed]);
        let stats = screen.stats();
        assert_eq!((stats.exit.scored, stats.exit.cleared), (4, 1));
        assert_eq!((stats.stage.runs, stats.stage.rows, stats.stage.macs), (1, 4, 28));
    }

    #[test]
    fn runs_are_filled_up_to_a_bucket() {
        let mut screen = screen(1, 0.0).with_buckets(vec![1, 4]);
        let images: [&[u8]; 3] = [&[10], &[30], &[0]];
        let screened = screen.run(&images, |_| 0.01).unwrap();
        let (cleared, passed) = (Screened::Cleared(0.1), Screened::Passed(None));
        assert_eq!(screened, [cleared, passed, Screened::Cleared(0.0)]);
        let stats = screen.stats();
        assert_eq!((stats.exit.scored, stats.exit.cleared), (3, 2));
        assert_eq!((stats.stage.rows, stats.stage.padding, stats.stage.macs), (3, 1, 21));
        assert_eq!(screen.run(&images[..1], |_| 0.01).unwrap(), [cleared]);
        assert_eq!(screen.stats().stage.padding, 1);
    }

    #[test]
    fn audited_images_count_as_cleared() {
        let mut screen = screen(1, 1.0);
        assert_eq!(screen.run(&[&[10]], |_| 0.01).unwrap(), [Screened::Audit]);
        assert_eq!(screen.stats().exit.cleared, 1);
    }

    #[test]
    fn a_network_with_a_wrong_number_of_scores_is_an_error() {
        let error = screen(2, 0.0).run(&[&[10]], |_| 0.01).unwrap_err();
        assert_eq!(error.part, NetworkPart::Screen);
    }
}
