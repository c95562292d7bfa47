//! Requests over HTTP and HTTPS, with limits on size, time, redirects and addresses.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::{Client, Response, StatusCode, Url, header};

use super::attempt::Failed;
use super::guard::{self, Refused};
use super::memory::Reserved;
use super::{FetchSetupError, too_large};
use crate::config::fetch::FetchConfig;
use crate::failure::{Failure, Reason};

/// Connections that are kept open per host without a request, at most.
const IDLE_CONNECTIONS: usize = 16;

/// The most bytes that are allocated in advance for a `Content-Length`.
const TRUSTED_LENGTH: usize = 1 << 20;

/// The bytes by which the memory of an image grows, at least.
const STEP: usize = 64 << 10;

/// An HTTP client that connects only to the addresses that the configuration allows.
#[derive(Debug)]
pub(super) struct Http {
    client: Client,
    max_bytes: usize,
    allow_private: bool,
}

/// Lets rustls use ring. The alternative, aws-lc, takes a sixth of the time of a whole build.
pub(super) fn choose_cryptography() {
    // An error means that the process has already chosen.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

impl Http {
    /// A client with the limits of `config`.
    ///
    /// # Errors
    /// [`FetchSetupError::Http`] if the client cannot be created.
    pub fn new(config: &FetchConfig) -> Result<Self, FetchSetupError> {
        choose_cryptography();
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
        Ok(Self { client, max_bytes: config.max_bytes, allow_private: config.allow_private })
    }

    /// The URL of a URI.
    ///
    /// # Errors
    /// [`Failure`] if the URI is malformed, has another scheme, or has a private address that is not
    /// allowed.
    pub fn url(&self, uri: &str) -> Result<Url, Failure> {
        let url =
            Url::parse(uri).map_err(|e| Failure::new(Reason::Malformed, format!("{uri}: {e}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            let detail = format!("scheme `{}` is not supported; use http or https", url.scheme());
            return Err(Failure::new(Reason::UnsupportedScheme, detail));
        }
        match guard::literal(&url).filter(|_| !self.allow_private) {
            Some(refused) => Err(Failure::new(Reason::Forbidden, refused.to_string())),
            None => Ok(url),
        }
    }

    /// Sends one request and reads its body. `memory` grows with the body.
    ///
    /// # Errors
    /// [`Failed`] if the server does not answer with an image of at most `fetch.max_bytes` bytes.
    pub async fn attempt(&self, url: Url, memory: &mut Reserved) -> Result<Bytes, Failed> {
        let mut response = self.client.get(url).send().await.map_err(failed)?;
        if let Some(failed) = refused(&response) {
            return Err(failed);
        }
        let too_large = || Failed::for_good(too_large(self.max_bytes));
        let declared = response.content_length().unwrap_or(0);
        if declared > self.max_bytes as u64 {
            return Err(too_large());
        }
        let mut bytes = BytesMut::with_capacity(TRUSTED_LENGTH.min(declared as usize));
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            let length = bytes.len() + chunk.len();
            if length > self.max_bytes {
                return Err(too_large());
            }
            if length > memory.bytes() {
                // As the buffer does, so that large bodies wait seldom.
                memory.grow((length - memory.bytes()).max(bytes.len()).max(STEP)).await;
            }
            bytes.extend_from_slice(&chunk);
        }
        memory.shrink_to(bytes.capacity());
        Ok(bytes.freeze())
    }
}

/// The host and port of a URL, which identify a host in the queue.
pub(super) fn authority(url: &Url) -> Arc<str> {
    let port = url.port_or_known_default().unwrap_or_default();
    format!("{}:{port}", url.host_str().unwrap_or_default()).into()
}

/// The failure of a response whose status is not a success. `None` for a success.
fn refused(response: &Response) -> Option<Failed> {
    let status = response.status();
    if status.is_success() {
        return None;
    }
    if let Some(scheme) = elsewhere(response) {
        let failure = Failure::new(Reason::UnsupportedScheme, Refused::Scheme(scheme).to_string());
        return Some(Failed::for_good(failure));
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
    // `shown` adds the URL without its secrets.
    let error = error.without_url();
    if let Some(refused) = source::<Refused>(&error) {
        let reason = match refused {
            Refused::Private(_) => Reason::Forbidden,
            Refused::Scheme(_) => Reason::UnsupportedScheme,
            Refused::TooMany(_) => Reason::Unavailable,
        };
        return Failed::for_good(Failure::new(reason, refused.to_string()));
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

/// A URL without the parts that may be secret: user, password, query and fragment.
pub(super) fn shown(url: &Url) -> String {
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

    #[test]
    fn secrets_in_a_url_are_not_shown() {
        let url = Url::parse("https://user:pass@example.org:8443/a/b.png?signature=abc#x").unwrap();
        assert_eq!(shown(&url), "https://example.org:8443/a/b.png");
    }
}
