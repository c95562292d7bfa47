//! `dorfman health`: requests /healthz or /readyz of a worker, as a container's health check.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use clap::Args;

use super::{CliError, ConfigArgs};

/// The longest time of a connection, a read and a write.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Bytes of a response, at most. The response of a worker is one line.
const MAX_RESPONSE: u64 = 16 * 1024;

/// Arguments of `health`.
#[derive(Debug, Args)]
pub(super) struct HealthArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Request readiness (/readyz) instead of health (/healthz).
    #[arg(long)]
    ready: bool,
}

pub(super) fn run(args: &HealthArgs) -> Result<(), CliError> {
    let config = args.config.load()?;
    let listen: SocketAddr = config
        .ops
        .listen
        .parse()
        .map_err(|e| CliError::Usage(format!("configuration: `ops.listen`: {e}")))?;
    let path = if args.ready { "/readyz" } else { "/healthz" };
    let address = reachable(listen);
    let response = request(address, path).map_err(|e| {
        CliError::Failed(format!(
            "no worker responds at http://{address}{path}: {e}; check `ops.listen`"
        ))
    })?;
    let (head, body) = response.split_once("\r\n\r\n").unwrap_or((&response, ""));
    match head.split(' ').nth(1) {
        Some("200") => Ok(()),
        Some("503") => Err(CliError::Failed(body.trim().to_owned())),
        _ => Err(CliError::Failed(format!(
            "http://{address}{path} is not the response of a worker: {}",
            head.lines().next().unwrap_or("")
        ))),
    }
}

/// The local address of a worker: loopback if the worker listens on every address.
fn reachable(listen: SocketAddr) -> SocketAddr {
    match listen {
        SocketAddr::V4(a) if a.ip().is_unspecified() => (Ipv4Addr::LOCALHOST, a.port()).into(),
        SocketAddr::V6(a) if a.ip().is_unspecified() => (Ipv6Addr::LOCALHOST, a.port()).into(),
        given => given,
    }
}

fn request(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut response = String::new();
    stream.take(MAX_RESPONSE).read_to_string(&mut response)?;
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_listens_on_every_address_is_requested_at_loopback() {
        for (listen, requested) in [
            ("0.0.0.0:9464", "127.0.0.1:9464"),
            ("[::]:80", "[::1]:80"),
            ("10.0.0.7:9464", "10.0.0.7:9464"),
        ] {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), requested);
        }
    }
}
