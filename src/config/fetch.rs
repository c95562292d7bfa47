//! `fetch`: how the bytes of images are fetched.

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ConfigError, require};

/// How the bytes of images are fetched.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FetchConfig {
    /// Folders whose files may be read, after symbolic links are resolved. Empty: no files.
    pub roots: Vec<PathBuf>,
    /// Bytes per image, at most, from any source.
    pub max_bytes: usize,
    /// Bytes of images that are fetched and wait for a decode thread, at most, plus the image that
    /// exceeds it. Further fetches wait.
    pub buffer_bytes: usize,
    /// HTTP fetches that run at once, at most. One host may use three quarters of them, and not more
    /// than twice its share of the recent images, or 4. It is also the number of batches of files
    /// that are read at once, at most, with one thread per batch.
    pub concurrency: usize,
    /// The longest time for a connection.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub connect_timeout: Duration,
    /// The longest time for one attempt, from the request to the last byte, or to open or to read a
    /// file.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub timeout: Duration,
    /// Attempts per image, at most. Only temporary errors are retried (connection errors, timeouts,
    /// HTTP 408, 425, 429 and 5xx; errors of a disk or of a network file system, too many open files,
    /// and a folder of `roots` that is gone or not mounted).
    pub attempts: u32,
    /// The wait before the second attempt, at most 10s. The wait doubles before each further
    /// attempt, up to 10s, with jitter. A longer `Retry-After` of the server is respected, up to
    /// 10s.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub backoff: Duration,
    /// The longest time to fetch an image, in all attempts and with the waits between them. The time
    /// in which other images of the host have their turn, or in which a store is down, does not
    /// count. It is also the longest wait for a host that does not answer.
    #[serde(with = "humantime_serde")]
    #[schemars(with = "String")]
    pub deadline: Duration,
    /// Temporary errors in a row, of any images, after which a host is down. A host that is down gets
    /// one probe at a time, after 1s to 30s, until it answers.
    pub outage_after: u32,
    /// Share of the recent images from which a host is a store, 0 to 1. If a store is down, the
    /// worker waits for it and reads no more messages. The images of other hosts that are down
    /// become dead letters at once. A folder of `roots` counts as a host.
    pub store_share: f64,
    /// The longest time to wait for a store that is down. Then its images become dead letters.
    /// Without a limit, the worker waits until the store answers.
    #[serde(with = "humantime_serde::option")]
    #[schemars(with = "Option<String>")]
    pub outage_limit: Option<Duration>,
    /// Redirects per fetch, at most.
    pub max_redirects: usize,
    /// Whether private, loopback and link-local addresses are allowed. Keep it off if strangers
    /// choose the URIs.
    pub allow_private: bool,
    /// The User-Agent header of HTTP requests.
    pub user_agent: String,
}

impl Default for FetchConfig {
    fn default() -> Self {
        Self {
            roots: Vec::new(),
            max_bytes: 32 << 20,
            buffer_bytes: 256 << 20,
            concurrency: 64,
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(30),
            attempts: 3,
            backoff: Duration::from_millis(200),
            deadline: Duration::from_secs(60),
            outage_after: 20,
            store_share: 0.1,
            outage_limit: None,
            max_redirects: 3,
            allow_private: false,
            user_agent: concat!("dorfman/", env!("CARGO_PKG_VERSION")).into(),
        }
    }
}

impl FetchConfig {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let absolute = self.roots.iter().all(|r| r.is_absolute());
        require(absolute, "fetch.roots", "every folder must be an absolute path")?;
        require(
            (1..=1 << 30).contains(&self.max_bytes),
            "fetch.max_bytes",
            "must be 1 byte to 1 GiB",
        )?;
        let what = "must be at least 1048576 (1 MiB)";
        require(self.buffer_bytes >= 1 << 20, "fetch.buffer_bytes", what)?;
        require(
            (1..=10_000).contains(&self.concurrency),
            "fetch.concurrency",
            "must be 1 to 10000",
        )?;
        require(
            !self.connect_timeout.is_zero(),
            "fetch.connect_timeout",
            "must be above 0, such as 5s",
        )?;
        require(!self.timeout.is_zero(), "fetch.timeout", "must be above 0, such as 30s")?;
        require((1..=20).contains(&self.attempts), "fetch.attempts", "must be 1 to 20")?;
        require(self.backoff <= Duration::from_secs(10), "fetch.backoff", "must be at most 10s")?;
        let longest = Duration::from_secs(24 * 3600);
        let what = "must be at least `fetch.timeout` and at most 24h, such as 60s";
        require((self.timeout..=longest).contains(&self.deadline), "fetch.deadline", what)?;
        require(self.outage_after >= 1, "fetch.outage_after", "must be at least 1")?;
        require((0.0..=1.0).contains(&self.store_share), "fetch.store_share", "must be 0 to 1")?;
        // A header can only hold printable ASCII.
        let header = self.user_agent.chars().all(|c| matches!(c, ' '..='~'));
        require(header, "fetch.user_agent", "must be printable ASCII")?;
        require(self.max_redirects <= 20, "fetch.max_redirects", "must be 0 to 20")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_valid() {
        assert_eq!(FetchConfig::default().validate(), Ok(()));
    }

    #[test]
    fn wrong_values_name_their_key() {
        let good = FetchConfig::default;
        for (wrong, key) in [
            (FetchConfig { roots: vec!["images".into()], ..good() }, "fetch.roots"),
            (FetchConfig { max_bytes: 0, ..good() }, "fetch.max_bytes"),
            (FetchConfig { buffer_bytes: 0, ..good() }, "fetch.buffer_bytes"),
            (FetchConfig { concurrency: 0, ..good() }, "fetch.concurrency"),
            (FetchConfig { connect_timeout: Duration::ZERO, ..good() }, "fetch.connect_timeout"),
            (FetchConfig { timeout: Duration::ZERO, ..good() }, "fetch.timeout"),
            (FetchConfig { attempts: 0, ..good() }, "fetch.attempts"),
            (FetchConfig { backoff: Duration::from_secs(11), ..good() }, "fetch.backoff"),
            (FetchConfig { deadline: Duration::from_secs(29), ..good() }, "fetch.deadline"),
            (FetchConfig { outage_after: 0, ..good() }, "fetch.outage_after"),
            (FetchConfig { store_share: 1.5, ..good() }, "fetch.store_share"),
            (FetchConfig { max_redirects: 21, ..good() }, "fetch.max_redirects"),
            (FetchConfig { user_agent: "a\nb".into(), ..good() }, "fetch.user_agent"),
        ] {
            assert_eq!(wrong.validate().unwrap_err().key, key);
        }
    }

    #[test]
    fn durations_have_units() {
        let config: FetchConfig =
            serde_json::from_str(r#"{"timeout": "1m 30s", "backoff": "50ms"}"#).unwrap();
        assert_eq!(
            (config.timeout, config.backoff),
            (Duration::from_secs(90), Duration::from_millis(50))
        );
        assert!(serde_json::from_str::<FetchConfig>(r#"{"time_out": "1s"}"#).is_err());
    }
}
