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
