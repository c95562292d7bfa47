//! The two brokers of the tests: librdkafka's mock cluster and Apache Kafka.

use std::fs::File;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use dorfman::source::embedded::EmbeddedBroker;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

/// A broker that has the topics of a test.
pub trait Broker {
    /// Creates topics with the given numbers of partitions, and waits until the topics exist.
    fn with_topics(topics: &[(String, i32)]) -> Self;

    /// The address for clients, as in `bootstrap.servers`.
    fn bootstrap(&self) -> &str;
}

/// librdkafka's mock cluster, one per test.
pub struct Embedded(EmbeddedBroker);

impl Broker for Embedded {
    fn with_topics(topics: &[(String, i32)]) -> Self {
        let topics: Vec<(&str, i32)> = topics.iter().map(|(t, n)| (t.as_str(), *n)).collect();
        Self(EmbeddedBroker::start(&topics).unwrap())
    }

    fn bootstrap(&self) -> &str {
        self.0.bootstrap_servers()
    }
}

/// Apache Kafka, one server for all tests of a test binary.
pub struct Real(&'static Server);

impl Real {
    /// Creates a topic of one partition. Returns whether the broker has done so.
    pub fn try_create(&self, topic: &str) -> bool {
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
        let new = [new_topic(topic, 1)];
        let created = block_on(admin(self.bootstrap()).create_topics(&new, &options)).unwrap();
        created.iter().all(Result::is_ok)
    }

    /// Sets a property of a topic, and waits until the broker has taken it over.
    pub fn alter(&self, topic: &str, property: &str, value: &str) {
        let admin = admin(self.bootstrap());
        let of_topic = ResourceSpecifier::Topic(topic);
        let altered = AlterConfig::new(of_topic).set(property, value);
        block_on(admin.alter_configs([&altered], &AdminOptions::new())).unwrap();
        super::eventually("the topic has the property", || {
            let asked = block_on(admin.describe_configs([&of_topic], &AdminOptions::new()));
            let found = asked.unwrap().remove(0).unwrap();
            found.get(property).is_some_and(|entry| entry.value.as_deref() == Some(value))
        });
    }

    /// Creates a topic of one partition with a property.
    pub fn create_with(&self, topic: &str, property: &str, value: &str) {
        self.0.create(&[new_topic(topic, 1).set(property, value)]);
    }
}

impl Broker for Real {
    fn with_topics(topics: &[(String, i32)]) -> Self {
        static SERVER: OnceLock<Server> = OnceLock::new();
        let server = SERVER.get_or_init(Server::start);
        let new: Vec<NewTopic<'_>> = topics.iter().map(|(t, n)| new_topic(t, *n)).collect();
        server.create(&new);
        Self(server)
    }

    fn bootstrap(&self) -> &str {
        &self.0.bootstrap
    }
}

/// A Kafka server process. A shell starts the server, waits for the end of its standard input, and
/// kills the server. The pipe closes when the test binary exits or is killed. The server therefore
/// never outlives the test binary.
struct Server {
    bootstrap: String,
    _process: Child,
    _stdin: ChildStdin,
    _data: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        let libs = Path::new(env!("CARGO_MANIFEST_DIR")).join(".dorfman/kafka/libs");
        assert!(
            libs.is_dir(),
            "{} is missing: run `scripts/setup.sh kafka` (or `make test`, which does)",
            libs.display()
        );
        let data = tempfile::tempdir().unwrap();
        let [client, controller] = free_ports();
        let properties = write_properties(data.path(), client, controller);
        let log = data.path().join("server.log");
        let classpath = format!("{}/*", libs.display());
        let script = r#"
            java -cp "$1" kafka.tools.StorageTool format -t AAAAAAAAAAAAAAAAAAAAAQ -c "$2" >"$3" 2>&1 || exit 1
            java -Xmx512m -cp "$1" kafka.Kafka "$2" >>"$3" 2>&1 & server=$!
            read -r _; kill -9 "$server"; wait"#;
        let mut process = Command::new("sh")
            .args(["-c", script, "kafka", &classpath])
            .args([&properties, &log])
            .current_dir(data.path())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = process.stdin.take().unwrap();
        let server = Self {
            bootstrap: format!("127.0.0.1:{client}"),
            _process: process,
            _stdin: stdin,
            _data: data,
        };
        server.wait_until_up(&log);
        server
    }

    /// Requests metadata until the server sends it. Each request waits inside the client.
    fn wait_until_up(&self, log: &Path) {
        let client: BaseConsumer =
            ClientConfig::new().set("bootstrap.servers", &self.bootstrap).create().unwrap();
        let start = Instant::now();
        while client.fetch_metadata(None, Duration::from_secs(2)).is_err() {
            let text = || std::fs::read_to_string(log).unwrap_or_default();
            assert!(start.elapsed() < Duration::from_secs(60), "Kafka did not start:\n{}", text());
        }
    }

    fn create(&self, new: &[NewTopic<'_>]) {
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
        let admin = admin(&self.bootstrap);
        for created in block_on(admin.create_topics(new, &options)).unwrap() {
            created.unwrap();
        }
    }
}

/// A client for administration.
pub fn admin(bootstrap: &str) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", bootstrap).create().unwrap()
}

/// Waits for a request of a client.
pub fn block_on<T>(request: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(request)
}

/// A topic to create.
pub fn new_topic(name: &str, partitions: i32) -> NewTopic<'_> {
    NewTopic::new(name, partitions, TopicReplication::Fixed(1))
}

fn free_ports() -> [u16; 2] {
    // Both ports are bound before either is released, so they differ.
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|l| l.local_addr().unwrap().port())
}

fn write_properties(data: &Path, client: u16, controller: u16) -> PathBuf {
    let path = data.join("server.properties");
    let mut file = File::create(&path).unwrap();
    write!(
        file,
        "process.roles=broker,controller\n\
         node.id=1\n\
         controller.quorum.voters=1@127.0.0.1:{controller}\n\
         controller.listener.names=CONTROLLER\n\
         listeners=PLAINTEXT://127.0.0.1:{client},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{client}\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
         log.dirs={}\n\
         offsets.topic.replication.factor=1\n\
         offsets.topic.num.partitions=4\n\
         transaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\n\
         group.initial.rebalance.delay.ms=0\n\
         group.consumer.heartbeat.interval.ms=500\n\
         group.consumer.min.heartbeat.interval.ms=500\n\
         auto.create.topics.enable=false\n",
        data.join("log").display()
    )
    .unwrap();
    path
}
