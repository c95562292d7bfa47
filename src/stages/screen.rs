//! The screen's thread: takes images that were decoded small, and clears most of them. The others
//! return to the decode threads and are decoded in full.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use dorfman_core::engine::{
    AuditSampler, EngineError, ExitRule, ItemVerdict, NetworkPart, Verdict,
};
use dorfman_core::screen::{Screen, ScreenNetwork, ScreenStats, Screened};
use dorfman_model::Profile;
use dorfman_model::cpu::SystemClock;

use crate::budget::Held;
use crate::error::{WorkerError, setup};
use crate::frames::{self, Picture};
use crate::item::FinishedItem;
use crate::ops::Services;

/// The longest wait for items before the thread checks for the end.
const POLL: Duration = Duration::from_millis(50);

/// A picture that is decoded for the screen.
pub(crate) struct ScreenedPicture {
    /// The pixels, as the screen's input expects them.
    pub image: Vec<u8>,
    /// The encoded image.
    pub bytes: Bytes,
    /// The picture.
    pub picture: Picture,
    /// The memory that the encoded image takes.
    pub held: Held,
}

/// A picture that the screen did not clear.
pub(crate) struct PassedPicture {
    /// The encoded image.
    pub bytes: Bytes,
    /// The picture.
    pub picture: Picture,
    /// What the screen says about the picture.
    pub screened: Screened,
    /// Freed when the image is decoded in full.
    pub held: Held,
}

/// What the screen is told, and what it has done. Shared by the engine's stage, which sets the
/// rule, the decode threads and the screen's thread.
pub(crate) struct ScreenControl {
    rule: RwLock<Option<ExitRule>>,
    in_use: AtomicBool,
    /// Items cleared without an audit.
    cleared: AtomicU64,
    stats: Mutex<ScreenStats>,
}

impl ScreenControl {
    /// The control of a screen that clears items by `rule`. `None`: the screen is not in use.
    pub(crate) fn new(rule: Option<ExitRule>) -> Self {
        Self {
            in_use: AtomicBool::new(rule.is_some()),
            rule: RwLock::new(rule),
            cleared: AtomicU64::new(0),
            stats: Mutex::default(),
        }
    }

    /// Whether images are decoded for the screen.
    pub(crate) fn in_use(&self) -> bool {
        self.in_use.load(Ordering::Relaxed)
    }

    /// Sets the rule for the items that come next.
    pub(crate) fn set_rule(&self, rule: Option<ExitRule>) {
        self.in_use.store(rule.is_some(), Ordering::Relaxed);
        *self.rule.write().unwrap_or_else(PoisonError::into_inner) = rule;
    }

    /// Items that the screen has cleared without an audit.
    pub(crate) fn cleared(&self) -> u64 {
        self.cleared.load(Ordering::Relaxed)
    }

    /// The sums of the screen.
    pub(crate) fn stats(&self) -> ScreenStats {
        *self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rule(&self) -> Option<ExitRule> {
        self.rule.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Where the screen's thread sends items.
pub(crate) struct ScreenOutputs {
    /// Items that pass, to the decode threads.
    pub passed: Sender<Vec<PassedPicture>>,
    /// Cleared items, to the sink.
    pub finished: Sender<Vec<FinishedItem>>,
}

/// The screen on its thread.
pub(crate) struct ScreenStage {
    screen: Screen<Box<dyn ScreenNetwork>>,
    control: Arc<ScreenControl>,
    outputs: ScreenOutputs,
    /// The risk of an item whose message has none.
    default_risk: f32,
    max_batch: usize,
    services: Services,
}

impl ScreenStage {
    /// A stage with a warmed-up network.
    ///
    /// # Errors
    /// [`WorkerError::Setup`] if the network fails.
    pub(crate) fn new(
        mut network: Box<dyn ScreenNetwork>,
        image_len: usize,
        control: Arc<ScreenControl>,
        outputs: ScreenOutputs,
        settings: &ScreenSettings,
        services: Services,
    ) -> Result<Self, WorkerError> {
        let blank = vec![0; image_len];
        let ends = [1, settings.max_batch];
        let buckets = &settings.buckets[..];
        for &batch in if buckets.is_empty() { &ends[..] } else { buckets } {
            network.score(&vec![&blank[..]; batch], &mut Vec::new()).map_err(setup)?;
        }
        let audits = AuditSampler::new(settings.audit_fraction, fastrand::u64(..));
        let mut screen = Screen::new(network, SystemClock, ExitRule::default(), audits)
            .with_buckets(settings.buckets.clone());
        if let Some(profile) = settings.profile.clone() {
            screen =
                screen.with_expected(move |rows| profile.seconds(NetworkPart::Screen, 1, rows));
        }
        let (default_risk, max_batch) = (settings.default_risk, settings.max_batch);
        Ok(Self { screen, control, outputs, default_risk, max_batch, services })
    }

    /// Runs until the decode threads have ended.
    ///
    /// # Errors
    /// [`WorkerError`] if the network fails. Its items have no verdict and are read again.
    pub(crate) fn run(mut self, queue: &Receiver<Vec<ScreenedPicture>>) -> Result<(), WorkerError> {
        let mut waiting: VecDeque<ScreenedPicture> = VecDeque::new();
        while !self.services.signals.aborted() {
            while waiting.len() < self.max_batch {
                let Ok(items) = queue.try_recv() else { break };
                waiting.extend(items);
            }
            if waiting.is_empty() {
                match queue.recv_timeout(POLL) {
                    Ok(items) => waiting.extend(items),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return Ok(()),
                }
                continue;
            }
            let batch = waiting.len().min(self.max_batch);
            self.screen(waiting.drain(..batch).collect())?;
        }
        Ok(())
    }

    /// Screens a batch of items.
    fn screen(&mut self, items: Vec<ScreenedPicture>) -> Result<(), WorkerError> {
        let screened = match self.control.rule() {
            Some(rule) => self.run_network(&items, rule)?,
            // The planner has switched the screen off since these images were decoded for it.
            None => vec![Screened::Passed(None); items.len()],
        };
        let count = screened.iter().filter(|s| matches!(s, Screened::Cleared(_))).count() as u64;
        let (mut passed, mut cleared) = (Vec::new(), Vec::new());
        for (ScreenedPicture { bytes, picture, held, .. }, screened) in
            items.into_iter().zip(screened)
        {
            match screened {
                Screened::Cleared(score) => cleared.extend(frames::finish(verdict(picture, score))),
                Screened::Audit | Screened::Passed(_) => {
                    passed.push(PassedPicture { bytes, picture, screened, held });
                }
            }
        }
        self.control.cleared.fetch_add(count, Ordering::Relaxed);
        if !passed.is_empty() {
            // There is no receiver only after the decode threads have failed.
            let _ = self.outputs.passed.send(passed);
        }
        if !cleared.is_empty() && self.outputs.finished.send(cleared).is_err() {
            // The sink has failed and logged why.
            self.services.signals.abort();
        }
        Ok(())
    }

    fn run_network(
        &mut self,
        items: &[ScreenedPicture],
        rule: ExitRule,
    ) -> Result<Vec<Screened>, WorkerError> {
        self.screen.set_rule(rule);
        let before = *self.screen.stats();
        let images: Vec<&[u8]> = items.iter().map(|item| &item.image[..]).collect();
        let prior = |i: usize| items[i].picture.risk().unwrap_or(self.default_risk);
        let screened = self.screen.run(&images, prior).map_err(EngineError::from);
        // Before the items are dropped.
        let screened = screened.inspect_err(|_| self.services.fail(true))?;
        let now = *self.screen.stats();
        self.services.metrics.screen(&before, &now, self.max_batch);
        *self.control.stats.lock().unwrap_or_else(PoisonError::into_inner) = now;
        Ok(screened)
    }
}

/// Settings of the screen's thread.
pub(crate) struct ScreenSettings {
    /// Share of the items that the screen would clear that are audited, 0 to 1.
    pub audit_fraction: f64,
    /// The risk of an item whose message has none.
    pub default_risk: f32,
    /// Images per run, at most.
    pub max_batch: usize,
    /// Batch sizes to which runs are filled up. Empty: any size is run.
    pub buckets: Vec<usize>,
    /// The measured seconds of the network on this machine.
    pub profile: Option<Profile>,
}

/// The verdict on a picture that the screen clears.
fn verdict(picture: Picture, score: f32) -> ItemVerdict<Picture> {
    ItemVerdict {
        payload: picture,
        verdict: Verdict::Cleared,
        tests: 0,
        rounds: 0,
        score,
        arity: 1,
        audited: false,
        exit: Some(NetworkPart::Screen),
        confirm_score: None,
    }
}
