//! Fetches over HTTP and HTTPS, with limits on size, time, redirects and addresses.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use reqwest::{Client, Response, StatusCode, Url, header};

use super::breaker::Outcome;
use super::guard::{self, Refused};
use super::hosts::HostLimits;
use super::queue::{Pass, Queue};
use super::{FetchSetupError, too_large};
use crate::config::fetch::FetchConfig;
use crate::failure::{Failure, Reason};

/// The longest wait between two attempts, even if the server's `Retry-After` is longer.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Connections that are kept open per host without a request, at most.
const IDLE_CONNECTIONS: usize = 16;

/// The most bytes that are allocated in advance for a `Content-Length`.
const TRUSTED_LENGTH: usize = 1 << 20;

/// An HTTP client that connects only to the addresses that the configuration allows.
#[derive(Debug)]
pub(super) struct Http {
    client: Client,
    queue: Arc<Queue>,
    max_bytes: usize,
    attempts: u32,
    deadline: Duration,
    backoff: Duration,
    allow_private: bool,
}

/// A failed attempt.
struct Failed {
    failure: Failure,
    /// `None`: do not retry. `Some`: retry, after the wait in the server's `Retry-After` if there
    /// is one.
    again: Option<Option<Duration>>,
}

impl Http {
    /// A client with the limits of `config`.
    ///
    /// # Errors
    /// [`FetchSetupError::Http`] if the client cannot be created.
    pub fn new(config: &FetchConfig) -> Result<Self, FetchSetupError> {
        let client = Client::builder()
            .user_agent(&config.user_agent)
            .connect_timeout(config.connect_timeout)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .timeout(config.timeout)
            // A proxy would resolve names itself and bypass the check of addresses.
            .no_proxy()
            // The URI may contain a signature, which must not be sent to the target of a redirect.
            .referer(false)
            .redirect(guard::redirects(config.allow_private, config.max_redirects))
            .dns_resolver(Arc::new(guard::Resolver { allow_private: config.allow_private }))
            .build()
            .map_err(|e| FetchSetupError::Http(chain(&e)))?;
        Ok(Self {
            client,
            queue: Arc::new(Queue::new(limits(config))),
            max_bytes: config.max_bytes,
            attempts: config.attempts,
            deadline: config.deadline,
            backoff: config.backoff,
            allow_private: config.allow_private,
        })
    }

    /// The queue of fetches.
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// The bytes at an `http` or `https` URI. Temporary errors are retried, within `fetch.attempts`
    /// and `fetch.deadline`. While a store is down, the call waits for it, and the time and the
    /// attempts meanwhile do not count. The bytes come with the place of the attempt: while they are
    /// held, the place is taken, so that memory is bounded.
    ///
    /// # Errors
    /// [`Failure`] with the reason of the last attempt.
    pub async fn get(&self, uri: &str) -> Result<(Bytes, Pass), Failure> {
        let url =
            Url::parse(uri).map_err(|e| Failure::new(Reason::Malformed, format!("{uri}: {e}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Failure::new(
                Reason::UnsupportedScheme,
                format!("scheme `{}` is not supported; use http or https", url.scheme()),
            ));
        }
        if !self.allow_private
            && let Some(refused) = guard::literal(&url)
        {
            return Err(Failure::new(Reason::Forbidden, refused.to_string()));
        }
        let host = authority(&url);
        let (mut tried, mut spent) = (0, Duration::ZERO);
        loop {
            let failed = match self.turn(&host, &url, self.deadline.saturating_sub(spent)).await {
                (Ok(fetched), _) => return Ok(fetched),
                (Err(failed), took) => {
                    spent += took;
                    failed
                }
            };
            if failed.again.is_some() && self.queue.patient(&host) {
                (tried, spent) = (0, Duration::ZERO);
                continue;
            }
            tried += 1;
            if failed.again.is_some() && self.queue.suspected(&host, self.attempts) {
                (tried, spent) = (tried.min(self.attempts - 1), Duration::ZERO);
            }
            let again =
                failed.again.filter(|_| tried < self.attempts && !self.queue.gave_up(&host));
            let wait = again.map(|retry_after| wait(self.backoff, tried, retry_after));
            let Some(wait) = wait.filter(|&wait| spent + wait < self.deadline) else {
                let Failure { reason, detail } = failed.failure;
                let detail = format!("{}: {detail} (tries: {tried})", shown(&url));
                return Err(Failure::new(reason, detail));
            };
            tokio::time::sleep(wait).await;
            spent += wait;
        }
    }

    /// Waits for the turn of a host, and makes one attempt of at most `longest`. Returns its result
    /// and the time that it took.
    async fn turn(
        &self,
        host: &Arc<str>,
        url: &Url,
        longest: Duration,
    ) -> (Result<(Bytes, Pass), Failed>, Duration) {
        let mut pass = match self.queue.turn(host).await {
            Ok(pass) => pass,
            Err(why) => {
                let failure = Failure::new(Reason::Unavailable, why);
                return (Err(Failed { failure, again: None }), Duration::ZERO);
            }
        };
        let begun = Instant::now();
        let result = tokio::time::timeout(longest, self.attempt(url.clone())).await;
        let result = result.unwrap_or_else(|_| Err(late()));
        pass.answered(match &result {
            Err(Failed { again: Some(_), .. }) => Outcome::Failed,
            _ => Outcome::Answered,
        });
        (result.map(|bytes| (bytes, pass)), begun.elapsed())
    }

    /// Sends one request and reads its body.
    async fn attempt(&self, url: Url) -> Result<Bytes, Failed> {
        let mut response = self.client.get(url).send().await.map_err(failed)?;
        if let Some(failed) = refused(&response) {
            return Err(failed);
        }
        let too_large = || Failed { failure: too_large(self.max_bytes), again: None };
        let declared = response.content_length().unwrap_or(0);
        if declared > self.max_bytes as u64 {
            return Err(too_large());
        }
        let mut bytes = BytesMut::with_capacity(TRUSTED_LENGTH.min(declared as usize));
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if bytes.len() + chunk.len() > self.max_bytes {
                return Err(too_large());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes.freeze())
    }
}

/// The limits of the queue of fetches.
fn limits(config: &FetchConfig) -> HostLimits {
    HostLimits {
        running: config.concurrency,
        failures: config.outage_after,
        store_share: config.store_share,
        outage_limit: config.outage_limit,
        patience: config.deadline,
    }
}

/// The host and port of a URI. `None` if it is not a URL.
pub(super) fn host(uri: &str) -> Option<Arc<str>> {
    Some(authority(&Url::parse(uri).ok()?))
}

/// The host and port of a URL, which identify a host in the queue.
fn authority(url: &Url) -> Arc<str> {
    let port = url.port_or_known_default().unwrap_or_default();
    format!("{}:{port}", url.host_str().unwrap_or_default()).into()
}

/// The failure of an attempt that reached the deadline of its item.
fn late() -> Failed {
    let failure = Failure::new(Reason::Timeout, "not fetched within `fetch.deadline`");
    Failed { failure, again: Some(None) }
}

/// The failure of a response whose status is not a success. `None` for a success.
fn refused(response: &Response) -> Option<Failed> {
    let status = response.status();
    if status.is_success() {
        return None;
    }
    if let Some(scheme) = elsewhere(response) {
        let failure = Failure::new(Reason::UnsupportedScheme, Refused::Scheme(scheme).to_string());
        return Some(Failed { failure, again: None });
    }
    let transient = status.is_server_error()
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
        );
    let reason = match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => Reason::NotFound,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Reason::Forbidden,
        _ => Reason::Unavailable,
    };
    // A date, the other form of this header, is ignored.
    let seconds = response
        .headers()
        .get(header::RETRY_AFTER)
        .and_then(|v| v.to_str().ok()?.trim().parse().ok());
    let again = transient.then(|| seconds.map(Duration::from_secs));
    Some(Failed { failure: Failure::new(reason, format!("the server returned {status}")), again })
}

/// The scheme of a redirect's target if it is neither HTTP nor HTTPS. The client neither follows a
/// redirect to a URL without a host nor calls the redirect policy for it.
fn elsewhere(response: &Response) -> Option<String> {
    let to =
        response.headers().get(header::LOCATION).filter(|_| response.status().is_redirection())?;
    let to = response.url().join(to.to_str().ok()?).ok()?;
    (!matches!(to.scheme(), "http" | "https")).then(|| to.scheme().to_owned())
}

/// The failed attempt for an error of the client.
fn failed(error: reqwest::Error) -> Failed {
    // `Http::get` adds the URL without its secrets.
    let error = error.without_url();
    if let Some(refused) = source::<Refused>(&error) {
        let reason = match refused {
            Refused::Private(_) => Reason::Forbidden,
            Refused::Scheme(_) => Reason::UnsupportedScheme,
            Refused::TooMany(_) => Reason::Unavailable,
        };
        return Failed { failure: Failure::new(reason, refused.to_string()), again: None };
    }
    let (reason, again) = if error.is_timeout() {
        (Reason::Timeout, true)
    } else if error.is_builder() {
        (Reason::Malformed, false)
    } else if error.is_redirect() {
        (Reason::Unavailable, false)
    } else {
        (Reason::Unavailable, true)
    };
    Failed { failure: Failure::new(reason, chain(&error)), again: again.then_some(None) }
}

/// The wait after `tried` attempts: the backoff, doubled after each further attempt
/// and with jitter, or the server's `Retry-After` if that is longer. At most [`LONGEST_WAIT`].
fn wait(backoff: Duration, tried: u32, retry_after: Option<Duration>) -> Duration {
    let own =
        backoff.saturating_mul(2u32.saturating_pow(tried.saturating_sub(1))).min(LONGEST_WAIT);
    // The jitter takes 50 to 100 % of the wait. Workers that failed together then do not retry
    // together.
    let jitter = (RandomState::new().hash_one(tried) % 1024) as f64 / 1024.0;
    own.mul_f64(0.5 + jitter / 2.0).max(retry_after.unwrap_or_default()).min(LONGEST_WAIT)
}

/// A URL without the parts that may be secret: user, password, query and fragment.
fn shown(url: &Url) -> String {
    let port = url.port().map(|p| format!(":{p}")).unwrap_or_default();
    format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

/// The first error of type `E` among an error and its causes.
fn source<'a, E: std::error::Error + 'static>(
    error: &'a (dyn std::error::Error + 'static),
) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// The text of an error and of all its causes. The text of a reqwest error does not include its
/// causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn waits_double_with_jitter_up_to_a_bound() {
        for (tried, full) in
            [(0, 200), (1, 200), (2, 400), (3, 800), (30, 10_000), (u32::MAX, 10_000)]
        {
            let wait = wait(ms(200), tried, None);
            assert!(wait >= ms(full / 2) && wait <= ms(full), "{tried}: {wait:?}");
        }
    }

    #[test]
    fn retry_after_is_respected_up_to_a_bound() {
        assert_eq!(wait(ms(200), 1, Some(ms(3000))), ms(3000));
        assert_eq!(wait(ms(200), 1, Some(Duration::from_secs(3600))), LONGEST_WAIT);
    }

    #[test]
    fn secrets_in_a_url_are_not_shown() {
        let url = Url::parse("https://user:pass@example.org:8443/a/b.png?signature=abc#x").unwrap();
        assert_eq!(shown(&url), "https://example.org:8443/a/b.png");
    }
}
