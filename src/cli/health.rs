//! `dorfman health`: asks a worker's /healthz or /readyz, as a container's health check does.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use clap::Args;

use super::{CliError, ConfigArgs};

/// How long connecting may take, and each read and write after it.
const PATIENCE: Duration = Duration::from_secs(3);
/// A reason is a line; whoever answers with more is no worker.
const LONGEST: u64 = 16 * 1024;

/// Arguments of `health`.
#[derive(Debug, Args)]
pub(super) struct HealthArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Ask whether it takes messages (/readyz) in place of whether it should be restarted (/healthz).
    #[arg(long)]
    ready: bool,
}

pub(super) fn run(args: &HealthArgs) -> Result<(), CliError> {
    let config = args.config.load()?;
    let listen: SocketAddr =
        config.ops.listen.parse().map_err(|e| CliError::Usage(format!("configuration: `ops.listen`: {e}")))?;
    let path = if args.ready { "/readyz" } else { "/healthz" };
    let address = reachable(listen);
    let answer = ask(address, path)
        .map_err(|e| CliError::Failed(format!("no worker answers at http://{address}{path}: {e}")))?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    match head.split(' ').nth(1) {
        Some("200") => Ok(()),
        Some("503") => Err(CliError::Failed(body.trim().to_owned())),
        _ => Err(CliError::Failed(format!(
            "http://{address}{path} is no worker's: {}",
            head.lines().next().unwrap_or("")
        ))),
    }
}

/// Where a worker that listens on every address is reached from its own machine.
fn reachable(listen: SocketAddr) -> SocketAddr {
    match listen {
        SocketAddr::V4(a) if a.ip().is_unspecified() => (Ipv4Addr::LOCALHOST, a.port()).into(),
        SocketAddr::V6(a) if a.ip().is_unspecified() => (Ipv6Addr::LOCALHOST, a.port()).into(),
        given => given,
    }
}

fn ask(address: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.take(LONGEST).read_to_string(&mut answer)?;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_that_listens_everywhere_is_asked_at_loopback() {
        for (listen, asked) in
            [("0.0.0.0:9464", "127.0.0.1:9464"), ("[::]:80", "[::1]:80"), ("10.0.0.7:9464", "10.0.0.7:9464")]
        {
            assert_eq!(reachable(listen.parse().unwrap()).to_string(), asked);
        }
    }
}
