//! Limits the addresses and redirects of HTTP requests.

use std::net::{IpAddr, SocketAddr};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;

use super::address::is_private;

/// Why a request was not sent, or a redirect was not followed. The HTTP client returns this error
/// as a cause of its own error.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    /// The host has a private address. The text is the address, after the host's name if there is
    /// one.
    #[error("{0} is a private address; to allow private addresses, set `fetch.allow_private`")]
    Private(String),
    /// A redirect to a scheme other than HTTP and HTTPS.
    #[error("the server redirects to the scheme `{0}`; only http and https are supported")]
    Scheme(String),
    /// More redirects than this limit.
    #[error("the server redirects more than {0} times, the limit in `fetch.max_redirects`")]
    TooMany(usize),
}

/// The refusal of a URL whose host is a private IP address. Such a host is not resolved, so
/// [`Resolver`] does not check it. `None` if the host is a name or a public address.
pub(super) fn literal(url: &Url) -> Option<Refused> {
    let address: IpAddr = match url.host()? {
        url::Host::Ipv4(v4) => v4.into(),
        url::Host::Ipv6(v6) => v6.into(),
        url::Host::Domain(_) => return None,
    };
    is_private(address).then(|| Refused::Private(address.to_string()))
}

/// A policy that follows at most `most` redirects. The target of each redirect is checked like the
/// first URL.
pub(super) fn redirects(allow_private: bool, most: usize) -> Policy {
    Policy::custom(move |attempt| {
        if attempt.previous().len() > most {
            return attempt.error(Refused::TooMany(most));
        }
        let scheme = attempt.url().scheme();
        if !matches!(scheme, "http" | "https") {
            let refused = Refused::Scheme(scheme.to_owned());
            return attempt.error(refused);
        }
        match literal(attempt.url()) {
            Some(refused) if !allow_private => attempt.error(refused),
            _ => attempt.follow(),
        }
    })
}

/// Resolves host names to public addresses only, and refuses a name that has only private
/// addresses. The client connects to the addresses that were checked here.
#[derive(Debug)]
pub(super) struct Resolver {
    /// Whether private addresses are returned too.
    pub allow_private: bool,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_private = self.allow_private;
        Box::pin(async move {
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let allowed: Vec<SocketAddr> =
                found.iter().copied().filter(|a| allow_private || !is_private(a.ip())).collect();
            if allowed.is_empty()
                && let Some(address) = found.first()
            {
                let host = format!("{} ({})", name.as_str(), address.ip());
                return Err(Refused::Private(host).into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;
    use std::io::{BufRead, BufReader, Write};
    use std::net::{Ipv4Addr, TcpListener};
    use std::sync::Arc;

    use super::*;

    /// Starts a server that redirects one request to `to`, and returns the server's port. In `to`,
    /// `{port}` is replaced by that port.
    fn redirecting(to: &str) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let to = to.replace("{port}", &port.to_string());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let request = BufReader::new(&stream)
                .lines()
                .map_while(Result::ok)
                .take_while(|line| !line.is_empty());
            assert!(request.count() > 0);
            write!(stream, "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")
                .unwrap();
        });
        port
    }

    /// A public host redirects to a private address.
    #[tokio::test]
    async fn redirects_to_private_addresses_are_refused() {
        super::super::http::choose_cryptography();
        for to in [
            "http://127.0.0.1:{port}/",
            "http://localhost:{port}/",
            "http://[::1]:{port}/",
            "http://169.254.169.254/latest",
        ] {
            let port = redirecting(to);
            let client = reqwest::Client::builder()
                .no_proxy()
                // This name bypasses the resolver, as if it had a public address.
                .resolve("public.test", (Ipv4Addr::LOCALHOST, port).into())
                .redirect(redirects(false, 3))
                .dns_resolver(Arc::new(Resolver { allow_private: false }))
                .build()
                .unwrap();
            let error = client.get(format!("http://public.test:{port}/")).send().await.unwrap_err();
            let mut cause: &(dyn Error + 'static) = &error;
            while let Some(next) = cause.source() {
                cause = next;
            }
            assert!(matches!(cause.downcast_ref(), Some(Refused::Private(_))), "{to}: {error:?}");
        }
    }
}
