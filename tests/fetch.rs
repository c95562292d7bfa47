//! Fetching through the public interface: files in a temporary folder, and HTTP from a server on
//! 127.0.0.1 that sends prepared replies.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use dorfman::config::fetch::FetchConfig;
use dorfman::failure::{Failure, Reason};
use dorfman::fetch::{FetchSetupError, Fetcher};
use dorfman::message::Location;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The bytes of a file.
fn local(fetcher: &Fetcher, uri: impl ToString) -> Result<Bytes, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(fetcher.bytes(&Location::Uri(uri.to_string())))
}

/// The bytes behind a URL.
async fn remote(fetcher: &Fetcher, uri: &str) -> Result<Bytes, Failure> {
    fetcher.bytes(&Location::Uri(uri.to_owned())).await
}

fn files(root: &Path) -> Fetcher {
    Fetcher::new(&FetchConfig {
        roots: vec![root.to_owned()],
        max_bytes: 10,
        ..FetchConfig::default()
    })
    .unwrap()
}

#[tokio::test]
async fn inline_images_are_limited_in_size() {
    let fetcher = Fetcher::new(&FetchConfig { max_bytes: 4, ..FetchConfig::default() }).unwrap();
    let inline = |bytes| Location::Inline(Bytes::from_static(bytes));
    assert_eq!(fetcher.bytes(&inline(b"four")).await.unwrap(), "four");
    assert_eq!(fetcher.bytes(&inline(b"fiver")).await.unwrap_err().reason, Reason::TooLarge);
}

#[test]
fn files_below_a_root_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("a folder");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("100%.png"), "pixels").unwrap();
    fs::write(folder.join("full"), "0123456789").unwrap();
    fs::write(folder.join("empty"), "").unwrap();
    symlink(folder.join("100%.png"), dir.path().join("link")).unwrap();
    let fetcher = files(dir.path());
    let root = dir.path().display();
    for uri in [
        format!("{root}/a folder/100%.png"),
        format!("file://{root}/a%20folder/100%25.png"),
        format!("file://localhost{root}/a%20folder/100%25.png"),
        format!("{root}/link"),
    ] {
        assert_eq!(local(&fetcher, &uri).unwrap(), "pixels", "{uri}");
    }
    assert_eq!(local(&fetcher, format!("{root}/a folder/full")).unwrap(), "0123456789");
    assert_eq!(local(&fetcher, format!("{root}/a folder/empty")).unwrap(), "");
}

#[test]
fn a_root_may_be_a_link() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("real")).unwrap();
    fs::write(dir.path().join("real/a"), "pixels").unwrap();
    symlink("real", dir.path().join("root")).unwrap();
    let fetcher = files(&dir.path().join("root"));
    assert_eq!(local(&fetcher, dir.path().join("root/a").display()).unwrap(), "pixels");
    assert_eq!(local(&fetcher, dir.path().join("real/a").display()).unwrap(), "pixels");
}

#[test]
fn a_link_from_one_root_to_another_is_followed() {
    let one = tempfile::tempdir().unwrap();
    let two = tempfile::tempdir().unwrap();
    fs::write(two.path().join("a"), "pixels").unwrap();
    symlink(two.path().join("a"), one.path().join("link")).unwrap();
    let roots = vec![one.path().to_owned(), two.path().to_owned()];
    let fetcher = Fetcher::new(&FetchConfig { roots, ..FetchConfig::default() }).unwrap();
    assert_eq!(local(&fetcher, one.path().join("link").display()).unwrap(), "pixels");
    assert_eq!(
        local(&files(one.path()), one.path().join("link").display()).unwrap_err().reason,
        Reason::Forbidden
    );
}

#[test]
fn paths_that_must_not_be_read_are_refused_with_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    let beside = dir.path().join("root2");
    fs::create_dir_all(root.join("folder")).unwrap();
    fs::create_dir(&beside).unwrap();
    fs::write(beside.join("secret"), "secret").unwrap();
    fs::write(root.join("large"), "0123456789a").unwrap();
    symlink(beside.join("secret"), root.join("leak")).unwrap();
    symlink("../root2", root.join("way-out")).unwrap();
    symlink("/dev/zero", root.join("zero")).unwrap();
    symlink("/proc/self/root", root.join("magic")).unwrap();
    symlink("loop", root.join("loop")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        root.join("pipe"),
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
    let fetcher = files(&root);
    let root = root.display();
    let beside = beside.display();
    for (uri, reason) in [
        (format!("{root}/large"), Reason::TooLarge),
        (format!("{root}/none"), Reason::NotFound),
        (format!("{root}/large/below"), Reason::NotFound),
        (format!("{root}/loop"), Reason::NotFound),
        (format!("{root}/folder"), Reason::Forbidden),
        (format!("{root}"), Reason::Forbidden),
        (format!("{root}/pipe"), Reason::Forbidden),
        (format!("{root}/socket"), Reason::Forbidden),
        (format!("{root}/zero"), Reason::Forbidden),
        (format!("{root}/magic/etc/passwd"), Reason::Forbidden),
        (format!("{root}/leak"), Reason::Forbidden),
        (format!("{root}/way-out/secret"), Reason::Forbidden),
        (format!("{root}/../root2/secret"), Reason::Forbidden),
        (format!("file://{root}/../root2/secret"), Reason::Forbidden),
        (format!("file://{root}/..%2froot2/secret"), Reason::Forbidden),
        (format!("{beside}/secret"), Reason::Forbidden),
        ("/etc/passwd".to_owned(), Reason::Forbidden),
        (format!("{root}/a\0b"), Reason::Malformed),
        ("images/a.png".to_owned(), Reason::Malformed),
        ("s3://bucket/a.png".to_owned(), Reason::UnsupportedScheme),
    ] {
        let failure = local(&fetcher, &uri).unwrap_err();
        assert_eq!(failure.reason, reason, "{uri}: {failure}");
    }
}

#[test]
fn without_roots_every_file_is_forbidden() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a"), "pixels").unwrap();
    let fetcher = Fetcher::new(&FetchConfig::default()).unwrap();
    assert_eq!(
        local(&fetcher, dir.path().join("a").display()).unwrap_err().reason,
        Reason::Forbidden
    );
}

#[test]
fn a_missing_root_is_a_setup_error() {
    let config = FetchConfig { roots: vec!["/no/such/folder".into()], ..FetchConfig::default() };
    let error = Fetcher::new(&config).unwrap_err();
    assert!(
        matches!(error, FetchSetupError::Root { .. }) && error.to_string().contains("fetch.roots"),
        "{error}"
    );
}

/// What the server does after it has sent a reply.
#[derive(Clone, Copy)]
enum Then {
    /// Closes the connection.
    Close,
    /// Keeps the connection open until the client closes it.
    Hang,
}

/// The text to send, and what the server does then.
type Reply = (String, Then);

fn reply(status: &str, headers: &str, body: &str) -> Reply {
    (
        format!(
            "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}",
            body.len()
        ),
        Then::Close,
    )
}

/// A server that sends the n-th reply to the n-th request. All later requests get the last reply.
struct Server {
    base: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let own_base = base.clone();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let request = head(&mut stream).await;
                let number = {
                    let mut seen = seen.lock().unwrap();
                    seen.push(request);
                    seen.len() - 1
                };
                let (text, then) = replies[number.min(replies.len() - 1)].clone();
                let text = text.replace("{base}", &own_base);
                tokio::spawn(async move {
                    // The client may close the connection before all is written.
                    let _ = stream.write_all(text.as_bytes()).await;
                    if let Then::Hang = then {
                        let _ = stream.read(&mut [0]).await;
                    }
                });
            }
        });
        Self { base, requests }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

/// The request line and the headers of a request.
async fn head(stream: &mut TcpStream) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(request).unwrap()
}

fn config() -> FetchConfig {
    FetchConfig {
        max_bytes: 100,
        attempts: 3,
        backoff: Duration::from_millis(1),
        timeout: Duration::from_secs(20),
        allow_private: true,
        ..FetchConfig::default()
    }
}

async fn get(config: &FetchConfig, server: &Server) -> Result<Bytes, Failure> {
    let fetcher = Fetcher::new(config).unwrap();
    remote(&fetcher, &format!("{}/image?signature=secret", server.base)).await
}

/// Makes a fetch that must fail. Returns the reason and the number of requests.
async fn fails(config: FetchConfig, replies: Vec<Reply>) -> (Reason, usize) {
    let server = Server::start(replies).await;
    let failure = get(&config, &server).await.unwrap_err();
    assert!(!failure.detail.contains("secret"), "{}", failure.detail);
    (failure.reason, server.requests().len())
}

#[tokio::test]
async fn an_image_is_fetched_over_http() {
    let server = Server::start(vec![reply("200 OK", "", "pixels")]).await;
    assert_eq!(get(&config(), &server).await.unwrap(), "pixels");
    let request = server.requests().remove(0);
    assert!(request.starts_with("GET /image?signature=secret HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("user-agent: dorfman/"), "{request}");
}

#[tokio::test]
async fn temporary_errors_are_retried() {
    for status in [
        "500 Internal Server Error",
        "503 Service Unavailable",
        "429 Too Many Requests",
        "408 Timeout",
        "425 Too Early",
    ] {
        let server =
            Server::start(vec![reply(status, "", ""), reply("200 OK", "", "pixels")]).await;
        assert_eq!(get(&config(), &server).await.unwrap(), "pixels", "{status}");
        assert_eq!(server.requests().len(), 2);
    }
    assert_eq!(
        fails(config(), vec![reply("503 Service Unavailable", "", "")]).await,
        (Reason::Unavailable, 3)
    );
}

#[tokio::test]
async fn permanent_errors_are_not_retried() {
    for (status, reason) in [
        ("404 Not Found", Reason::NotFound),
        ("410 Gone", Reason::NotFound),
        ("401 Unauthorized", Reason::Forbidden),
        ("403 Forbidden", Reason::Forbidden),
        ("400 Bad Request", Reason::Unavailable),
        ("304 Not Modified", Reason::Unavailable),
    ] {
        assert_eq!(fails(config(), vec![reply(status, "", "")]).await, (reason, 1), "{status}");
    }
}

#[tokio::test]
async fn retry_after_is_honoured() {
    let server = Server::start(vec![
        reply("429 Too Many Requests", "Retry-After: 1\r\n", ""),
        reply("200 OK", "", "pixels"),
    ])
    .await;
    let start = Instant::now();
    assert_eq!(get(&config(), &server).await.unwrap(), "pixels");
    assert!(start.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_with_any_declared_length() {
    let declares =
        |n: &str| (format!("HTTP/1.1 200 OK\r\nContent-Length: {n}\r\n\r\n"), Then::Hang);
    assert_eq!(fails(config(), vec![declares("101")]).await, (Reason::TooLarge, 1));
    assert_eq!(fails(config(), vec![declares("999999999999999")]).await, (Reason::TooLarge, 1));
    // No length is declared, the body is larger than allowed, and the connection stays open.
    let endless = (format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(101)), Then::Hang);
    assert_eq!(fails(config(), vec![endless]).await, (Reason::TooLarge, 1));
    let chunked = (
        format!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n{}\r\n",
            "x".repeat(101)
        ),
        Then::Hang,
    );
    assert_eq!(fails(config(), vec![chunked]).await, (Reason::TooLarge, 1));
    let full = Server::start(vec![reply("200 OK", "", &"x".repeat(100))]).await;
    assert_eq!(get(&config(), &full).await.unwrap().len(), 100);
}

#[tokio::test]
async fn an_incomplete_body_is_retried() {
    let half = ("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\npixels".to_owned(), Then::Close);
    assert_eq!(fails(config(), vec![half.clone()]).await, (Reason::Unavailable, 3));
    let server = Server::start(vec![half, reply("200 OK", "", "pixels")]).await;
    assert_eq!(get(&config(), &server).await.unwrap(), "pixels");
}

#[tokio::test]
async fn a_slow_server_times_out() {
    let config = FetchConfig { timeout: Duration::from_millis(100), attempts: 2, ..config() };
    for sent in ["", "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\npixels"] {
        assert_eq!(
            fails(config.clone(), vec![(sent.to_owned(), Then::Hang)]).await,
            (Reason::Timeout, 2),
            "{sent}"
        );
    }
}

#[tokio::test]
async fn redirects_are_followed_up_to_a_limit() {
    let hop = || reply("302 Found", "Location: {base}/next\r\n", "");
    let server = Server::start(vec![hop(), hop(), reply("200 OK", "", "pixels")]).await;
    assert_eq!(get(&config(), &server).await.unwrap(), "pixels");
    let requests = server.requests();
    assert!(requests[2].starts_with("GET /next"));
    assert!(
        requests.iter().all(|r| !r.contains("referer")),
        "the target of a redirect must not receive the signature"
    );
    assert_eq!(fails(config(), vec![hop()]).await, (Reason::Unavailable, 4));
    assert_eq!(
        fails(FetchConfig { max_redirects: 0, ..config() }, vec![hop()]).await,
        (Reason::Unavailable, 1)
    );
}

#[tokio::test]
async fn a_redirect_to_another_scheme_is_refused() {
    for uri in ["ftp://127.0.0.1/image", "file:///etc/passwd", "data:,pixels"] {
        let hop = reply("302 Found", &format!("Location: {uri}\r\n"), "");
        assert_eq!(fails(config(), vec![hop]).await, (Reason::UnsupportedScheme, 1), "{uri}");
    }
}

#[tokio::test]
async fn private_addresses_are_refused() {
    let server = Server::start(vec![reply("200 OK", "", "secret")]).await;
    let port = server.base.rsplit(':').next().unwrap();
    let fetcher = Fetcher::new(&FetchConfig { allow_private: false, ..config() }).unwrap();
    for host in [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f.1",
        "[::ffff:127.0.0.1]",
        "[::1]",
        "169.254.169.254",
        "0.0.0.0",
    ] {
        let failure = remote(&fetcher, &format!("http://{host}:{port}/")).await.unwrap_err();
        assert_eq!(failure.reason, Reason::Forbidden, "{host}: {failure}");
        assert!(failure.detail.contains("fetch.allow_private"), "{failure}");
    }
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn a_server_that_does_not_listen_is_unavailable() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let fetcher = Fetcher::new(&config()).unwrap();
    for scheme in ["http", "https"] {
        let failure =
            remote(&fetcher, &format!("{scheme}://127.0.0.1:{port}/a.png")).await.unwrap_err();
        assert_eq!(failure.reason, Reason::Unavailable);
        assert!(
            failure.detail.contains("/a.png") && failure.detail.contains("tries: 3"),
            "{failure}"
        );
    }
    assert_eq!(
        remote(&fetcher, "ftp://127.0.0.1/a").await.unwrap_err().reason,
        Reason::UnsupportedScheme
    );
    assert_eq!(remote(&fetcher, "http://").await.unwrap_err().reason, Reason::Malformed);
}

#[tokio::test]
async fn the_number_of_concurrent_requests_is_limited() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}/", listener.local_addr().unwrap());
    let largest = Arc::new(AtomicUsize::new(0));
    let servers_largest = Arc::clone(&largest);
    let (open, _) = watch::channel(0_usize);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let largest = Arc::clone(&servers_largest);
            let open = open.clone();
            tokio::spawn(async move {
                head(&mut stream).await;
                open.send_modify(|n| *n += 1);
                largest.fetch_max(*open.borrow(), Ordering::SeqCst);
                // The server replies only after two requests were open at the same time. A client
                // that sends one request after another gets no reply.
                let _ = open.subscribe().wait_for(|_| largest.load(Ordering::SeqCst) >= 2).await;
                open.send_modify(|n| *n -= 1);
                let _ = stream.write_all(reply("200 OK", "", "pixels").0.as_bytes()).await;
            });
        }
    });
    let fetcher = Arc::new(Fetcher::new(&FetchConfig { concurrency: 2, ..config() }).unwrap());
    let fetches: Vec<_> = (0..8)
        .map(|_| {
            let fetcher = Arc::clone(&fetcher);
            let uri = uri.clone();
            tokio::spawn(async move { remote(&fetcher, &uri).await })
        })
        .collect();
    for fetch in fetches {
        assert_eq!(fetch.await.unwrap().unwrap(), "pixels");
    }
    assert_eq!(largest.load(Ordering::SeqCst), 2);
}
