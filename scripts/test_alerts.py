#!/usr/bin/env python3
"""Tests alerts end to end on this machine: Kafka, the worker, Prometheus, Alertmanager, a webhook.

    scripts/test_alerts.py [ALERT...]    default: DorfmanGpuFallback DorfmanDeadLetters

The worker gets the causes of these two alerts: a GPU that does not exist, and references of which
some name a missing file. Prometheus and Alertmanager run with the configuration of
docker-compose.yml and the shipped rules. The rules' `for` durations apply, so a run takes seven
minutes. Needs target/release/dorfman and `scripts/setup.sh onnxruntime kafka prometheus`.
"""

import http.server
import json
import os
import queue
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".dorfman/prometheus/usr/bin"
PATIENCE = 60
LONGEST = 12 * 60

KAFKA = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{kafka},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{kafka}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
num.partitions=4
log.dirs={folder}/kafka
"""

# `allow_cpu` lets the worker fall back to the CPU when there is no GPU.
WORKER = """
kafka: {{ brokers: "127.0.0.1:{kafka}" }}
source: {{ topic: images }}
fetch: {{ allow_private: true, attempts: 1 }}
model: {{ bundle: models/fashion-bag, provider: cuda, allow_cpu: true, threads: 1 }}
ops: {{ listen: "127.0.0.1:{worker}" }}
"""


class Machine:
    """The processes that the test starts, their folder, and their ports."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.processes: list[tuple[str, subprocess.Popen]] = []
        names = ["kafka", "controller", "worker", "prometheus", "alertmanager"]
        # All sockets are open at the same time, so the ports differ.
        held = [socket.create_server(("127.0.0.1", 0)) for _ in names]
        self.ports = {name: s.getsockname()[1] for name, s in zip(names, held)}
        for s in held:
            s.close()

    def write(self, name: str, text: str) -> str:
        (self.folder / name).write_text(text)
        return str(self.folder / name)

    def start(self, name: str, *command: str | Path) -> None:
        log = open(self.folder / f"{name}.log", "wb")
        process = subprocess.Popen([str(c) for c in command], cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        self.processes.append((name, process))

    def check(self) -> None:
        for name, process in self.processes:
            if process.poll() is not None:
                log = (self.folder / f"{name}.log").read_text(errors="replace")
                sys.exit(f"test-alerts: {name} ended with {process.returncode}:\n{log[-2000:]}")

    def wait_for(self, what: str, look: Callable[[], bool]) -> None:
        start = time.monotonic()
        while not look():
            self.check()
            if time.monotonic() - start > PATIENCE:
                sys.exit(f"test-alerts: not reached within {PATIENCE} s: {what}")
            threading.Event().wait(0.2)

    def stop(self) -> None:
        for _, process in reversed(self.processes):
            process.terminate()
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def answers(url: str) -> bool:
    try:
        return urllib.request.urlopen(url, timeout=5).status == 200
    except OSError:
        return False


def accepts(port: int) -> bool:
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


class Webhook(http.server.BaseHTTPRequestHandler):
    told: queue.Queue[dict[str, Any]] = queue.Queue()

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        for alert in body["alerts"]:
            self.told.put(alert)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


class Images(http.server.SimpleHTTPRequestHandler):
    """Serves the sample images, like the service `images` in docker-compose.yml."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args, directory=str(ROOT / "tests/data/agreement"))

    def log_message(self, *_: Any) -> None:
        pass


def served(handler: type[http.server.BaseHTTPRequestHandler]) -> int:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


def start_kafka(machine: Machine) -> None:
    properties = machine.write("server.properties", KAFKA.format(folder=machine.folder, **machine.ports))
    java = ["java", "-Xmx512m", "-cp", f"{ROOT}/.dorfman/kafka/libs/*"]
    storage = [*java, "kafka.tools.StorageTool", "format", "-t", "AAAAAAAAAAAAAAAAAAAAAQ", "-c", properties]
    subprocess.run(storage, check=True, cwd=machine.folder, capture_output=True)
    machine.start("kafka", *java, "kafka.Kafka", properties)
    machine.wait_for("Kafka accepts connections", lambda: accepts(machine.ports["kafka"]))


def start_worker(machine: Machine) -> None:
    brokers, images = f"127.0.0.1:{machine.ports['kafka']}", served(Images)
    references = (ROOT / "config/compose/references.txt").read_text().replace("http://images:8080", f"http://127.0.0.1:{images}")
    broken = "".join(f"http://127.0.0.1:{images}/gone-{i}.png\n" for i in range(5))
    listed = machine.write("references.txt", references + broken)
    worker = ROOT / "target/release/dorfman"
    machine.start("producer", worker, "produce", "--brokers", brokers, "--topic", "images", "--repeat", "10000", "--rate", "20", listed)
    machine.start("worker", worker, "run", "--config", machine.write("dorfman.yaml", WORKER.format(**machine.ports)))
    machine.wait_for("the worker is ready", lambda: answers(f"http://127.0.0.1:{machine.ports['worker']}/readyz"))


def start_watchers(machine: Machine) -> None:
    compose, ports = ROOT / "config/compose", machine.ports
    machine.write("alerts.yaml", (ROOT / "charts/dorfman/files/alerts.yaml").read_text())
    text = (compose / "prometheus.yaml").read_text()
    text = text.replace("alertmanager:9093", f"127.0.0.1:{ports['alertmanager']}").replace("worker:9464", f"127.0.0.1:{ports['worker']}")
    prometheus = machine.write("prometheus.yaml", text)
    hook = f"  - name: none\n    webhook_configs: [{{ url: 'http://127.0.0.1:{served(Webhook)}/' }}]"
    alertmanager = machine.write("alertmanager.yaml", (compose / "alertmanager.yaml").read_text().replace("  - name: none", hook))
    machine.start(
        "alertmanager",
        TOOLS / "prometheus-alertmanager",
        f"--config.file={alertmanager}",
        f"--storage.path={machine.folder}/alertmanager",
        "--cluster.listen-address=",
        f"--web.listen-address=127.0.0.1:{ports['alertmanager']}",
    )
    machine.start(
        "prometheus",
        TOOLS / "prometheus",
        f"--config.file={prometheus}",
        f"--storage.tsdb.path={machine.folder}/tsdb",
        "--storage.tsdb.retention.time=8d",
        f"--web.listen-address=127.0.0.1:{ports['prometheus']}",
    )
    for name in ["alertmanager", "prometheus"]:
        machine.wait_for(f"{name} is ready", partial(answers, f"http://127.0.0.1:{ports[name]}/-/ready"))


def watch(machine: Machine, wanted: set[str]) -> None:
    start = time.monotonic()
    while wanted:
        machine.check()
        if time.monotonic() - start > LONGEST:
            sys.exit(f"test-alerts: the webhook did not receive {', '.join(sorted(wanted))} within {LONGEST} s")
        try:
            alert = Webhook.told.get(timeout=1)
        except queue.Empty:
            continue
        name, notes = alert["labels"]["alertname"], alert["annotations"]
        what = f"{alert['status']}  {name} ({alert['labels']['severity']})"
        print(f"{time.monotonic() - start:4.0f} s  {what}  {notes['description']}  {notes['runbook_url']}", flush=True)
        wanted.discard(name)


def main() -> None:
    wanted = set(sys.argv[1:]) or {"DorfmanGpuFallback", "DorfmanDeadLetters"}
    os.environ.setdefault("ORT_DYLIB_PATH", str(ROOT / ".dorfman/onnxruntime/lib/libonnxruntime.so"))
    with tempfile.TemporaryDirectory() as folder:
        machine = Machine(folder)
        try:
            start_kafka(machine)
            start_worker(machine)
            start_watchers(machine)
            print(f"test-alerts: all processes run; waiting for {', '.join(sorted(wanted))}", flush=True)
            watch(machine, wanted)
        finally:
            machine.stop()
    print("test-alerts: the webhook received all of them")


main()
