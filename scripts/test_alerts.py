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
import queue
import sys
import tempfile
import threading
import time
from functools import partial
from typing import Any

from machine import ROOT, Machine, answers, find_onnxruntime, start_kafka

TOOLS = ROOT / ".dorfman/prometheus/usr/bin"
LONGEST = 12 * 60

# `allow_cpu` lets the worker fall back to the CPU when there is no GPU.
WORKER = """
kafka: {{ brokers: "127.0.0.1:{kafka}" }}
source: {{ topic: images }}
fetch: {{ allow_private: true, attempts: 1 }}
model: {{ bundle: models/fashion-bag, provider: cuda, allow_cpu: true, threads: 1 }}
ops: {{ listen: "127.0.0.1:{worker}" }}
"""


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
    find_onnxruntime()
    with tempfile.TemporaryDirectory() as folder:
        machine = Machine("test-alerts", folder, ["kafka", "controller", "worker", "prometheus", "alertmanager"])
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
