//! Where a request may go: which addresses, and which redirects.

use std::net::{IpAddr, SocketAddr};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;

use super::address::is_private;

/// Why a request was not sent on; found again inside the client's error.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    /// The host, and where it leads.
    #[error("{0} is a private address; `fetch.allow_private` allows them")]
    Private(String),
    /// A redirect to something else than HTTP.
    #[error("a redirect to the scheme `{0}`")]
    Scheme(String),
    /// The bound.
    #[error("more than {0} redirects")]
    TooMany(usize),
}

/// The refusal of a URL whose host is itself a private address: for these no resolver is asked.
pub(super) fn literal(url: &Url) -> Option<Refused> {
    let address: IpAddr = match url.host()? {
        url::Host::Ipv4(v4) => v4.into(),
        url::Host::Ipv6(v6) => v6.into(),
        url::Host::Domain(_) => return None,
    };
    is_private(address).then(|| Refused::Private(address.to_string()))
}

/// At most so many redirects, each checked as the first URL was.
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

/// Resolves names and refuses those that lead inside; what is checked is what is connected to.
#[derive(Debug)]
pub(super) struct Resolver {
    pub allow_private: bool,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_private = self.allow_private;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let allowed: Vec<SocketAddr> =
                found.iter().copied().filter(|a| allow_private || !is_private(a.ip())).collect();
            if let (true, Some(address)) = (allowed.is_empty(), found.first()) {
                return Err(Refused::Private(format!("{} ({})", name.as_str(), address.ip())).into());
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

    /// Redirects its one visitor to `to`, in which `{port}` stands for its own port.
    fn redirecting(to: &str) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let to = to.replace("{port}", &port.to_string());
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let request = BufReader::new(&stream).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
            assert!(request.count() > 0);
            write!(stream, "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n").unwrap();
        });
        port
    }

    /// A host that everybody may reach sends its visitors inside.
    #[tokio::test]
    async fn a_redirect_leads_to_no_private_address() {
        for to in [
            "http://127.0.0.1:{port}/",
            "http://localhost:{port}/",
            "http://[::1]:{port}/",
            "http://169.254.169.254/latest",
        ] {
            let port = redirecting(to);
            let client = reqwest::Client::builder()
                .no_proxy()
                // This name passes the resolver by, as a public one would get through it.
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
