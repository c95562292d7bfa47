//! HTTP and HTTPS, with limits.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::{Client, Response, StatusCode, Url, header};
use tokio::sync::Semaphore;

use super::guard::{self, Refused};
use super::{FetchSetupError, too_large};
use crate::config::fetch::FetchConfig;
use crate::message::{Failure, Reason};

/// Longest wait between two tries, whatever the server asks for.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Most memory set aside on a server's word for how much will come.
const TRUSTED_LENGTH: usize = 1 << 20;

/// A client that knows where it may go.
#[derive(Debug)]
pub(super) struct Http {
    client: Client,
    under_way: Semaphore,
    max_bytes: usize,
    attempts: u32,
    backoff: Duration,
    allow_private: bool,
}

/// A try that failed.
struct Failed {
    failure: Failure,
    /// Whether another try may do better, and how long the server asked to wait.
    again: Option<Option<Duration>>,
}

impl Http {
    pub fn new(config: &FetchConfig) -> Result<Self, FetchSetupError> {
        let client = Client::builder()
            .user_agent(&config.user_agent)
            .connect_timeout(config.connect_timeout)
            .timeout(config.timeout)
            // A proxy would resolve names itself, past the check of addresses.
            .no_proxy()
            // The URI may hold a signature; where a redirect leads must not learn it.
            .referer(false)
            .redirect(guard::redirects(config.allow_private, config.max_redirects))
            .dns_resolver(Arc::new(guard::Resolver { allow_private: config.allow_private }))
            .build()
            .map_err(|e| FetchSetupError::Http(chain(&e)))?;
        Ok(Self {
            client,
            under_way: Semaphore::new(config.concurrency),
            max_bytes: config.max_bytes,
            attempts: config.attempts,
            backoff: config.backoff,
            allow_private: config.allow_private,
        })
    }

    pub async fn get(&self, uri: &str) -> Result<Bytes, Failure> {
        let url = Url::parse(uri).map_err(|e| Failure::new(Reason::Malformed, format!("{uri}: {e}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Failure::new(
                Reason::UnsupportedScheme,
                format!("`{}` is not fetched over the network", url.scheme()),
            ));
        }
        if !self.allow_private
            && let Some(refused) = guard::literal(&url)
        {
            return Err(Failure::new(Reason::Forbidden, refused.to_string()));
        }
        let mut tried = 0;
        loop {
            let failed = match self.attempt(url.clone()).await {
                Ok(bytes) => return Ok(bytes),
                Err(failed) => failed,
            };
            tried += 1;
            let Some(asked) = failed.again.filter(|_| tried < self.attempts) else {
                let Failure { reason, detail } = failed.failure;
                return Err(Failure::new(reason, format!("{}: {detail} (tries: {tried})", shown(&url))));
            };
            tokio::time::sleep(wait(self.backoff, tried, asked)).await;
        }
    }

    async fn attempt(&self, url: Url) -> Result<Bytes, Failed> {
        // Never closed, so there is always a permit in the end.
        let _permit = self.under_way.acquire().await;
        let mut response = self.client.get(url).send().await.map_err(failed)?;
        if let Some(failed) = refused(&response) {
            return Err(failed);
        }
        let too_large = || Failed { failure: too_large(self.max_bytes), again: None };
        let said = response.content_length().unwrap_or(0);
        if said > self.max_bytes as u64 {
            return Err(too_large());
        }
        let mut bytes = BytesMut::with_capacity(TRUSTED_LENGTH.min(said as usize));
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if bytes.len() + chunk.len() > self.max_bytes {
                return Err(too_large());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes.freeze())
    }
}

/// What a status other than success means.
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
        || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS);
    let reason = match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => Reason::NotFound,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Reason::Forbidden,
        _ => Reason::Unavailable,
    };
    // The other form of this header, a date, counts as absent.
    let seconds = response.headers().get(header::RETRY_AFTER).and_then(|v| v.to_str().ok()?.trim().parse().ok());
    let again = transient.then(|| seconds.map(Duration::from_secs));
    Some(Failed { failure: Failure::new(reason, format!("the server answered {status}")), again })
}

/// The scheme of a redirect that the client did not follow, nor ask about, because the target has no host.
fn elsewhere(response: &Response) -> Option<String> {
    let to = response.headers().get(header::LOCATION).filter(|_| response.status().is_redirection())?;
    let to = response.url().join(to.to_str().ok()?).ok()?;
    (!matches!(to.scheme(), "http" | "https")).then(|| to.scheme().to_owned())
}

fn failed(error: reqwest::Error) -> Failed {
    // The address is said elsewhere, without what may be secret in it.
    let error = error.without_url();
    if let Some(refused) = source::<Refused>(&error) {
        let reason = match refused {
            Refused::Private(_) => Reason::Forbidden,
            Refused::Scheme(_) => Reason::UnsupportedScheme,
            Refused::TooMany(_) => Reason::Unavailable,
        };
        return Failed { failure: Failure::new(reason, refused.to_string()), again: None };
    }
    let (reason, again) = match () {
        () if error.is_timeout() => (Reason::Timeout, true),
        () if error.is_builder() => (Reason::Malformed, false),
        () if error.is_redirect() => (Reason::Unavailable, false),
        () => (Reason::Unavailable, true),
    };
    Failed { failure: Failure::new(reason, chain(&error)), again: again.then_some(None) }
}

/// How long to wait after so many tries: the backoff doubled for each, or what the server asked for if that is longer.
fn wait(backoff: Duration, tried: u32, asked: Option<Duration>) -> Duration {
    let own = backoff.saturating_mul(2u32.saturating_pow(tried - 1)).min(LONGEST_WAIT);
    // Between half and all of it, so that workers that failed together don't come back together.
    let jitter = (RandomState::new().hash_one(tried) % 1024) as f64 / 1024.0;
    own.mul_f64(0.5 + jitter / 2.0).max(asked.unwrap_or_default()).min(LONGEST_WAIT)
}

/// A URL without what may be secret: user, password, query.
fn shown(url: &Url) -> String {
    let port = url.port().map(|p| format!(":{p}")).unwrap_or_default();
    format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

fn source<'a, E: std::error::Error + 'static>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// An error with all its causes: reqwest's own text hides them.
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
        for (tried, full) in [(1, 200), (2, 400), (3, 800), (30, 10_000), (u32::MAX, 10_000)] {
            let wait = wait(ms(200), tried, None);
            assert!(wait >= ms(full / 2) && wait <= ms(full), "{tried}: {wait:?}");
        }
    }

    #[test]
    fn the_server_may_ask_for_longer_within_reason() {
        assert_eq!(wait(ms(200), 1, Some(ms(3000))), ms(3000));
        assert_eq!(wait(ms(200), 1, Some(Duration::from_secs(3600))), LONGEST_WAIT);
    }

    #[test]
    fn secrets_in_a_url_are_not_shown() {
        let url = Url::parse("https://user:pass@example.org:8443/a/b.png?signature=abc#x").unwrap();
        assert_eq!(shown(&url), "https://example.org:8443/a/b.png");
    }
}
