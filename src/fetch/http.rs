//! HTTP and HTTPS, with limits.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, Response, StatusCode, Url, header};

use super::address::is_private;
use super::{FetchSetupError, too_large};
use crate::config::fetch::FetchConfig;
use crate::message::{Failure, Reason};

/// Longest wait that a server's Retry-After is granted.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// A client that knows where it may go.
#[derive(Debug)]
pub(super) struct Http {
    client: Client,
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

/// Says that an address was refused; found again inside the client's error.
#[derive(Debug, thiserror::Error)]
#[error("{0} is a private address; `fetch.allow_private` allows them")]
struct Refused(String);

impl Http {
    pub fn new(config: &FetchConfig) -> Result<Self, FetchSetupError> {
        let (allow, most) = (config.allow_private, config.max_redirects);
        let client = Client::builder()
            .user_agent(&config.user_agent)
            .connect_timeout(config.connect_timeout)
            .timeout(config.timeout)
            // A proxy would resolve names itself, past the check of addresses.
            .no_proxy()
            .redirect(Policy::custom(move |attempt| follow(attempt, allow, most)))
            .dns_resolver(Arc::new(Resolver { allow_private: allow }))
            .build()
            .map_err(|e| FetchSetupError::Http(chain(&e)))?;
        Ok(Self { client, max_bytes: config.max_bytes, attempts: config.attempts, backoff: config.backoff, allow_private: allow })
    }

    pub async fn get(&self, uri: &str) -> Result<Bytes, Failure> {
        let url = Url::parse(uri).map_err(|e| Failure::new(Reason::Malformed, format!("{uri}: {e}")))?;
        if !self.allow_private
            && let Some(refused) = literal(&url)
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
                return Err(Failure::new(reason, format!("{uri}: {detail} (tries: {tried})")));
            };
            let own = self.backoff * 2u32.saturating_pow(tried - 1).min(1024);
            tokio::time::sleep(asked.unwrap_or_default().max(jittered(own)).min(LONGEST_WAIT)).await;
        }
    }

    async fn attempt(&self, url: Url) -> Result<Bytes, Failed> {
        let mut response = self.client.get(url).send().await.map_err(|e| failed(&e))?;
        if let Some(failed) = refused(&response) {
            return Err(failed);
        }
        let too_large = || Failed { failure: too_large(self.max_bytes), again: None };
        if response.content_length().is_some_and(|n| n > self.max_bytes as u64) {
            return Err(too_large());
        }
        let mut bytes = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| failed(&e))? {
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
    let transient = status.is_server_error()
        || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS);
    let reason = match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => Reason::NotFound,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Reason::Forbidden,
        _ => Reason::Unavailable,
    };
    let seconds = response.headers().get(header::RETRY_AFTER).and_then(|v| v.to_str().ok()?.trim().parse().ok());
    let again = transient.then(|| seconds.map(Duration::from_secs));
    Some(Failed { failure: Failure::new(reason, format!("the server answered {status}")), again })
}

fn failed(error: &reqwest::Error) -> Failed {
    let detail = chain(error);
    if let Some(refused) = source::<Refused>(error) {
        return Failed { failure: Failure::new(Reason::Forbidden, refused.to_string()), again: None };
    }
    let (reason, again) = match () {
        () if error.is_timeout() => (Reason::Timeout, true),
        () if error.is_redirect() => (Reason::Unavailable, false),
        () if error.is_builder() => (Reason::Malformed, false),
        () => (Reason::Unavailable, true),
    };
    Failed { failure: Failure::new(reason, detail), again: again.then_some(None) }
}

fn follow(attempt: Attempt<'_>, allow_private: bool, most: usize) -> reqwest::redirect::Action {
    if attempt.previous().len() > most {
        return attempt.error(TooMany(most));
    }
    if !matches!(attempt.url().scheme(), "http" | "https") {
        return attempt.error(TooMany(most));
    }
    match literal(attempt.url()) {
        Some(refused) if !allow_private => attempt.error(refused),
        _ => attempt.follow(),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("more than {0} redirects, or one to another scheme")]
struct TooMany(usize);

/// The refusal of a URL whose host is itself a private address.
fn literal(url: &Url) -> Option<Refused> {
    let address: IpAddr = match url.host()? {
        url::Host::Ipv4(v4) => v4.into(),
        url::Host::Ipv6(v6) => v6.into(),
        url::Host::Domain(_) => return None,
    };
    is_private(address).then(|| Refused(address.to_string()))
}

/// Resolves names and refuses those that lead inside; what is checked is what is connected to.
#[derive(Debug)]
struct Resolver {
    allow_private: bool,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_private = self.allow_private;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let allowed: Vec<SocketAddr> = found.iter().copied().filter(|a| allow_private || !is_private(a.ip())).collect();
            if let (true, Some(address)) = (allowed.is_empty(), found.first()) {
                return Err(Refused(format!("{} ({})", name.as_str(), address.ip())).into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

/// Between half and all of a wait, so that workers that failed together don't come back together.
fn jittered(wait: Duration) -> Duration {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.subsec_nanos());
    wait.mul_f64(0.5 + 0.5 * f64::from(nanos % 1000) / 1000.0)
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
