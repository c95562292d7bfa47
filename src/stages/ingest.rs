//! The decode threads: references become pixels, or dead letters. They read no file and no socket.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender};
use dorfman_core::screen::Screened;
use dorfman_model::cpu::thread_time;
use dorfman_model::decode::{DecodeMemory, Frame, Frames, Preprocessor};
use dorfman_model::manifest::InputSpec;

use crate::budget::{Budget, Held};
use crate::config::Config;
use crate::config::decode::{DecodeConfig, Incomplete};
use crate::error::WorkerError;
use crate::failure::Failure;
use crate::fetch::{Fetched, Located, Stored};
use crate::frames::Picture;
use crate::item::{DecodedPicture, FinishedItem, ImageFile, Item, Malformed, Origin, ReceivedItem};
use crate::message::Reference;
use crate::ops::Services;
use crate::stages::fetching::{FetchedItem, Fetching, Place};
use crate::stages::reading::Unread;
use crate::stages::screen::{PassedPicture, ScreenControl, ScreenedPicture};

/// The longest time that a decoded image waits for its batch.
const MAX_HOLD: Duration = Duration::from_millis(2);

/// The longest wait for a message before a thread checks for the end.
const POLL: Duration = Duration::from_millis(50);

/// What all decode threads share.
pub(crate) struct Ingest {
    fetching: Fetching,
    preprocessor: Preprocessor,
    /// Frames of an animation that are judged, at most.
    most_frames: u32,
    /// The memory for decoding, also for the screen.
    memory: Arc<DecodeMemory>,
    outputs: Outputs,
    screen: Option<ScreenInput>,
    services: Services,
}

/// The way to the screen and back.
pub(crate) struct ScreenInput {
    preprocessor: Preprocessor,
    control: Arc<ScreenControl>,
    screening: Sender<Vec<ScreenedPicture>>,
    passed: Receiver<Vec<PassedPicture>>,
    budget: Arc<Budget>,
}

impl ScreenInput {
    /// The way to a screen with this input. `passed` receives the items that the screen does not
    /// clear, and `budget` bounds the encoded images on the way.
    pub(crate) fn new(
        input: &InputSpec,
        config: &Config,
        control: Arc<ScreenControl>,
        screening: Sender<Vec<ScreenedPicture>>,
        passed: Receiver<Vec<PassedPicture>>,
        budget: Arc<Budget>,
    ) -> Self {
        let preprocessor = preprocessor(input, &config.decode);
        Self { preprocessor, control, screening, passed, budget }
    }
}

/// The preprocessing for an input, by the configuration.
fn preprocessor(input: &InputSpec, config: &DecodeConfig) -> Preprocessor {
    let incomplete = config.incomplete == Incomplete::Judge;
    Preprocessor::new(input, config.max_pixels).with_incomplete(incomplete)
}

/// Where the decode threads send items.
pub(crate) struct Outputs {
    /// To the engine.
    pub decoded: Sender<Vec<DecodedPicture>>,
    /// To the sink.
    pub finished: Sender<Vec<FinishedItem>>,
}

impl Ingest {
    /// The shared state of the decode threads.
    ///
    /// # Errors
    /// [`WorkerError::Setup`] if a root of `fetch.roots` is missing or the HTTP client cannot be
    /// built.
    pub(crate) fn new(
        config: &Config,
        input: &InputSpec,
        runtime: tokio::runtime::Handle,
        outputs: Outputs,
        services: Services,
    ) -> Result<Self, WorkerError> {
        let memory = DecodeMemory::new(config.decode.memory_bytes);
        let preprocessor = preprocessor(input, &config.decode);
        Ok(Self {
            fetching: Fetching::new(&config.fetch, runtime, services.clone())?,
            preprocessor: preprocessor.with_memory(Arc::clone(&memory)),
            most_frames: config.decode.frames,
            memory,
            outputs,
            screen: None,
            services,
        })
    }

    /// Sends images to a screen first.
    pub(crate) fn with_screen(self, screen: ScreenInput) -> Self {
        let preprocessor = screen.preprocessor.with_memory(Arc::clone(&self.memory));
        Self { screen: Some(ScreenInput { preprocessor, ..screen }), ..self }
    }

    /// Runs until the source has ended and every fetch has ended.
    pub(crate) fn run(&self, received: &Receiver<Vec<ReceivedItem>>) -> Result<(), WorkerError> {
        let mut open = true;
        while !self.services.signals.aborted() {
            let mut batch = DecodeBatch::new(self);
            // While a store is down, nothing more is read.
            let waits = self.services.health.outage() && !self.services.signals.stopping();
            let reads = open && !waits;
            match self.wait(reads.then_some(received), &mut batch) {
                Arrival::Decoded => {}
                Arrival::References(items) => self.receive(items, &mut batch),
                Arrival::SourceEnded => open = false,
                Arrival::Nothing => {
                    if !open && self.fetching.running() == 0 && self.in_screen() == 0 {
                        return Ok(());
                    }
                }
            }
            batch.finish();
        }
        Ok(())
    }

    /// Waits at most [`POLL`] for one of the inputs. Items that have passed the screen come first,
    /// then finished fetches; both are decoded at once. References come last, and only from
    /// `received`.
    fn wait(
        &self,
        received: Option<&Receiver<Vec<ReceivedItem>>>,
        batch: &mut DecodeBatch<'_>,
    ) -> Arrival {
        let never = crossbeam_channel::never();
        let never_passed = crossbeam_channel::never();
        let passed = self.screen.as_ref().map_or(&never_passed, |screen| &screen.passed);
        crossbeam_channel::select_biased! {
            recv(passed) -> items => {
                items.into_iter().flatten().for_each(|item| batch.decode_passed(item));
                Arrival::Decoded
            }
            recv(self.fetching.fetched()) -> fetched => {
                fetched.into_iter().flatten().for_each(|item| batch.take_fetched(item));
                Arrival::Decoded
            }
            recv(received.unwrap_or(&never)) -> items => match items {
                Ok(items) => Arrival::References(items),
                Err(_) => Arrival::SourceEnded,
            },
            default(POLL) => Arrival::Nothing,
        }
    }

    /// Decodes the items whose bytes are in their messages, and starts to fetch the others.
    fn receive(&self, items: Vec<ReceivedItem>, batch: &mut DecodeBatch<'_>) {
        let stored: Vec<(Item, Stored)> =
            items.into_iter().filter_map(|item| self.receive_one(item, batch)).collect();
        if stored.is_empty() {
            return;
        }
        batch.send();
        let mut files = Vec::new();
        for (item, stored) in stored {
            let at_once = self.fetching.reads_at_once(&stored);
            let Some(place) = self.place(at_once, batch) else { return };
            let stored = Arc::new(stored);
            if at_once {
                files.push(Unread { item, stored, place });
            } else {
                self.fetching.start(item, stored, place);
            }
        }
        if !files.is_empty() {
            self.fetching.read(files);
        }
    }

    /// Decodes an item whose bytes are in its message. Returns an item whose bytes are in a store.
    fn receive_one(
        &self,
        item: ReceivedItem,
        batch: &mut DecodeBatch<'_>,
    ) -> Option<(Item, Stored)> {
        let ReceivedItem { origin, content, held: _held, .. } = item;
        if !origin.ticket.is_current() {
            // The partition was revoked. Its next owner reads the item again.
            return None;
        }
        let reference = match content {
            Ok(reference) => reference,
            Err(Malformed { failure, payload }) => {
                batch.dead_letter(origin, None, payload, failure);
                return None;
            }
        };
        let found = self.fetching.find(&reference.location);
        let item = Item::new(reference, origin);
        match found {
            Ok(Located::Stored(stored)) => return Some((item, stored)),
            Ok(Located::Inline(bytes)) => batch.take(item, Ok(bytes)),
            Err(failure) => batch.take(item, Err(failure)),
        }
        None
    }

    /// Waits for a place, if there are very many fetches. Decodes finished fetches and items that
    /// have passed the screen meanwhile. `None` if the worker was aborted.
    fn place(&self, of_file: bool, batch: &mut DecodeBatch<'_>) -> Option<Place> {
        while !self.services.signals.aborted() {
            let place = if of_file { self.fetching.file_place() } else { self.fetching.place() };
            if place.is_some() {
                return place;
            }
            self.wait(None, batch);
            batch.send();
        }
        None
    }

    /// Items on the way to the screen and back.
    fn in_screen(&self) -> usize {
        self.screen.as_ref().map_or(0, |screen| screen.budget.items())
    }
}

/// What a decode thread has waited for.
enum Arrival {
    /// Items that have passed the screen, or a finished fetch, which are decoded.
    Decoded,
    /// References from the source.
    References(Vec<ReceivedItem>),
    /// The source has ended.
    SourceEnded,
    /// Nothing arrived in time.
    Nothing,
}

/// The items that one decode thread has decoded and not sent yet.
struct DecodeBatch<'a> {
    ingest: &'a Ingest,
    decoded: Vec<DecodedPicture>,
    screening: Vec<ScreenedPicture>,
    dead_letters: Vec<FinishedItem>,
    since: Instant,
    /// The thread's CPU time at the last measurement.
    cpu: Duration,
    decode_cpu: Duration,
    screen_cpu: Duration,
}

impl<'a> DecodeBatch<'a> {
    fn new(ingest: &'a Ingest) -> Self {
        Self {
            ingest,
            decoded: Vec::new(),
            screening: Vec::new(),
            dead_letters: Vec::new(),
            since: Instant::now(),
            cpu: thread_time(),
            decode_cpu: Duration::ZERO,
            screen_cpu: Duration::ZERO,
        }
    }

    /// CPU time of the thread since the last call.
    fn cpu_since_last(&mut self) -> Duration {
        let now = thread_time();
        now - std::mem::replace(&mut self.cpu, now)
    }

    /// Takes in an item whose fetch has ended. Its memory is free again when it is decoded.
    fn take_fetched(&mut self, fetched: FetchedItem) {
        let FetchedItem { item, bytes, _place } = fetched;
        let (bytes, _memory) = match bytes {
            Ok(Fetched { bytes, memory }) => (Ok(bytes), Some(memory)),
            Err(failure) => (Err(failure), None),
        };
        self.take(item, bytes);
    }

    /// Takes in an item with its bytes: for the screen if it is in use, else for the engine.
    fn take(&mut self, mut item: Item, bytes: Result<Bytes, Failure>) {
        if !item.origin.ticket.is_current() {
            return;
        }
        item.drop_inline();
        let ingest = self.ingest;
        match (&ingest.screen, bytes) {
            (Some(screen), Ok(bytes)) if screen.control.in_use() => {
                self.prepare(screen, item, bytes);
            }
            (_, bytes) => {
                for (picture, image) in self.pictures(&ingest.preprocessor, item, bytes) {
                    self.add(picture, image, Screened::Passed(None));
                }
            }
        }
    }

    /// Decodes the pictures of an item for the screen.
    fn prepare(&mut self, screen: &ScreenInput, item: Item, bytes: Bytes) {
        for (picture, image) in self.pictures(&screen.preprocessor, item, Ok(bytes.clone())) {
            let Some(held) = self.hold(screen, bytes.len()) else { return };
            let bytes = bytes.clone();
            self.screening.push(ScreenedPicture { image, bytes, picture, held });
        }
        self.send_aged();
    }

    /// Decodes the pictures of an item: its still image, or the sampled frames of its animation. The item
    /// becomes a dead letter if it cannot be decoded.
    fn pictures(
        &mut self,
        preprocessor: &Preprocessor,
        item: Item,
        bytes: Result<Bytes, Failure>,
    ) -> Vec<(Picture, Vec<u8>)> {
        let for_screen = !std::ptr::eq(preprocessor, &self.ingest.preprocessor);
        self.cpu_since_last();
        let most = self.ingest.most_frames;
        let frames =
            bytes.and_then(|bytes| preprocessor.frames(&bytes, most).map_err(Failure::from));
        let spent = self.cpu_since_last();
        *(if for_screen { &mut self.screen_cpu } else { &mut self.decode_cpu }) += spent;
        match frames {
            Ok(Frames { decoded, total, incomplete }) => {
                let file = ImageFile { frames: total, frame: 0, incomplete };
                let numbers: Vec<u32> = decoded.iter().map(|frame| frame.number).collect();
                let images = decoded.into_iter().map(|Frame { pixels, .. }| pixels);
                Picture::of(item, file, &numbers).into_iter().zip(images).collect()
            }
            Err(failure) => {
                let Item { reference, origin, .. } = item;
                self.dead_letter(origin, Some(reference), Bytes::new(), failure);
                self.send_aged();
                Vec::new()
            }
        }
    }

    /// Waits until the budget has room for an encoded image, and decodes items that have passed the
    /// screen meanwhile: they hold the budget. `None` if the worker was aborted.
    fn hold(&mut self, screen: &ScreenInput, bytes: usize) -> Option<Held> {
        if let Some(held) = screen.budget.take(bytes) {
            return Some(held);
        }
        let place = screen.budget.queue();
        while !self.ingest.services.signals.aborted() {
            self.send();
            if let Some(held) = place.take(bytes) {
                return Some(held);
            }
            crossbeam_channel::select! {
                recv(screen.passed) -> items => {
                    items.into_iter().flatten().for_each(|item| self.decode_passed(item));
                }
                recv(place.woken()) -> _ => {}
                default(POLL) => {}
            }
        }
        None
    }

    /// Decodes a picture in full that the screen did not clear.
    fn decode_passed(&mut self, passed: PassedPicture) {
        let PassedPicture { bytes, picture, screened, held } = passed;
        self.cpu_since_last();
        let image = self.ingest.preprocessor.frame(&bytes, picture.number());
        let spent = self.cpu_since_last();
        self.decode_cpu += spent;
        match image {
            Ok(image) => self.add(picture, image, screened),
            Err(error) => {
                self.dead_letters.extend(picture.fail(error.into()));
                self.send_aged();
            }
        }
        drop(held);
    }

    /// Adds a decoded picture.
    fn add(&mut self, picture: Picture, image: Vec<u8>, screened: Screened) {
        let age = picture.received().elapsed().as_secs_f64();
        self.ingest.services.metrics.decoded_age.observe(age);
        self.decoded.push(DecodedPicture { image, picture, screened });
        self.send_aged();
    }

    /// Sends everything if the oldest picture has waited long enough.
    fn send_aged(&mut self) {
        if self.since.elapsed() > MAX_HOLD {
            self.send();
        }
    }

    fn dead_letter(
        &mut self,
        origin: Origin,
        reference: Option<Reference>,
        payload: Bytes,
        failure: Failure,
    ) {
        let item = FinishedItem::DeadLetter { origin, reference, payload, failure };
        self.dead_letters.push(item);
    }

    /// Sends the remaining items and adds the CPU times to the metrics.
    fn finish(mut self) {
        self.send();
        let parts = [("screen", self.screen_cpu), ("decode", self.decode_cpu)];
        for (part, time) in parts {
            if !time.is_zero() {
                let counter = self.ingest.services.metrics.ingest_cpu.with_label_values(&[part]);
                counter.inc_by(time.as_secs_f64());
            }
        }
    }

    /// Sends all items. A stage that has failed has logged why; the tickets are then dropped
    /// unresolved.
    fn send(&mut self) {
        if let Some(screen) = self.ingest.screen.as_ref().filter(|_| !self.screening.is_empty()) {
            let _ = screen.screening.send(std::mem::take(&mut self.screening));
            let waiting = screen.screening.len() as i64;
            self.ingest.services.metrics.queue.with_label_values(&["screen"]).set(waiting);
        }
        if !self.decoded.is_empty() {
            let _ = self.ingest.outputs.decoded.send(std::mem::take(&mut self.decoded));
        }
        if !self.dead_letters.is_empty() {
            let _ = self.ingest.outputs.finished.send(std::mem::take(&mut self.dead_letters));
        }
        self.since = Instant::now();
    }
}
