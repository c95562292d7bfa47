//! Streams of tiny inline images, and models for them: for the benches of everything except the
//! network.

use std::collections::BTreeMap;

use dorfman_core::engine::Network;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use rdkafka::producer::BaseRecord;

use super::super::CliError;
use super::super::producer::MessageProducer;
use crate::config::Config;
use crate::message::ReferenceMessage;
use crate::worker::Model;

/// The topic of a broker that a bench starts.
pub(super) const TOPIC: &str = "images";

/// The sides of an image, in pixels.
const SIDE: u32 = 8;

/// The configuration of a worker with a cluster. Only warnings are logged.
pub(super) fn config(brokers: &str) -> Result<Config, CliError> {
    let mut config = Config::default();
    config.kafka.brokers = brokers.to_owned();
    config.ops.listen = "127.0.0.1:0".into();
    config.logging.level = "warn,librdkafka=error".into();
    crate::ops::logging::init(&config.logging).map_err(|e| CliError::Failed(e.to_string()))?;
    Ok(config)
}

/// A model for the images of a [`Stream`]. `network` scores them.
pub(super) fn model(network: impl Network + 'static) -> Model {
    Model::scripted(network, SIDE, SIDE)
}

/// Sends images to the partitions of a topic in turn, so that all have equally many.
pub(super) struct Stream {
    producer: MessageProducer,
    topic: String,
    partitions: i32,
    png: Vec<u8>,
    sent: usize,
}

impl Stream {
    /// A stream to a topic with a number of partitions.
    ///
    /// # Errors
    /// If a property of the configuration is wrong.
    pub fn new(config: &Config, topic: &str, partitions: i32) -> Result<Self, CliError> {
        let mut png = Vec::new();
        let pixels: Vec<u8> = (0..SIDE * SIDE).map(|x| x as u8).collect();
        PngEncoder::new(&mut png)
            .write_image(&pixels, SIDE, SIDE, ExtendedColorType::L8)
            .map_err(|e| CliError::Failed(e.to_string()))?;
        let producer = MessageProducer::new(&config.kafka, &BTreeMap::new())?;
        Ok(Self { producer, topic: topic.to_owned(), partitions, png, sent: 0 })
    }

    /// Sends images until it has sent `total` in all.
    ///
    /// # Errors
    /// If librdkafka refuses one.
    pub fn send_up_to(&mut self, total: usize) -> Result<(), CliError> {
        while self.sent < total {
            let item = self.sent.to_string();
            let reference = ReferenceMessage::inline(&item, &self.png);
            let message = serde_json::to_vec(&reference)?;
            let partition = (self.sent % self.partitions as usize) as i32;
            let record = BaseRecord::to(&self.topic).partition(partition);
            self.producer.send(record.key(&item).payload(&message))?;
            self.sent += 1;
        }
        Ok(())
    }

    /// The number of images that were sent.
    pub fn sent(&self) -> usize {
        self.sent
    }

    /// Waits until the brokers have acknowledged every image.
    ///
    /// # Errors
    /// If they have not.
    pub fn flush(&self) -> Result<(), CliError> {
        self.producer.flush()
    }
}
