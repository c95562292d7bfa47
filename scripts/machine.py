"""Processes that a script starts on this machine, and an Apache Kafka broker among them."""

import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 60

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


class Machine:
    """The processes of a script, their folder, and their ports. `program` is the name of the script in messages."""

    def __init__(self, program: str, folder: str, names: list[str]) -> None:
        self.program, self.folder = program, Path(folder)
        self.processes: list[tuple[str, subprocess.Popen]] = []
        # All sockets are open at the same time, so the ports differ.
        held = [socket.create_server(("127.0.0.1", 0)) for _ in names]
        self.ports = {name: s.getsockname()[1] for name, s in zip(names, held, strict=True)}
        for s in held:
            s.close()

    def write(self, name: str, text: str) -> str:
        (self.folder / name).write_text(text)
        return str(self.folder / name)

    def start(self, name: str, *command: str | Path) -> subprocess.Popen:
        log = open(self.folder / f"{name}.log", "wb")
        process = subprocess.Popen([str(c) for c in command], cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        self.processes.append((name, process))
        return process

    def check(self) -> None:
        for name, process in self.processes:
            if process.poll() is not None:
                log = (self.folder / f"{name}.log").read_text(errors="replace")
                sys.exit(f"{self.program}: {name} ended with {process.returncode}:\n{log[-2000:]}")

    def wait_for(self, what: str, look: Callable[[], bool]) -> None:
        start = time.monotonic()
        while not look():
            self.check()
            if time.monotonic() - start > PATIENCE:
                sys.exit(f"{self.program}: not reached within {PATIENCE} s: {what}")
            threading.Event().wait(0.2)

    def end(self, name: str) -> None:
        """Ends one process."""
        for at, (known, process) in enumerate(self.processes):
            if known == name:
                end(process)
                del self.processes[at]
                return

    def stop(self) -> None:
        """Ends all processes, the last one first."""
        for _, process in reversed(self.processes):
            end(process)


def processors() -> str:
    """Returns the number and the model of the processors that this process may use."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown model")
    return f"{len(os.sched_getaffinity(0))} x {model}"


def end(process: subprocess.Popen) -> None:
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


def start_kafka(machine: Machine, *more: str) -> None:
    text = KAFKA.format(folder=machine.folder, **machine.ports) + "\n".join(more)
    properties = machine.write("server.properties", text)
    java = ["java", "-Xmx512m", "-cp", f"{ROOT}/.dorfman/kafka/libs/*"]
    storage = [*java, "kafka.tools.StorageTool", "format", "-t", "AAAAAAAAAAAAAAAAAAAAAQ", "-c", properties]
    subprocess.run(storage, check=True, cwd=machine.folder, capture_output=True)
    machine.start("kafka", *java, "kafka.Kafka", properties)
    machine.wait_for("Kafka accepts connections", lambda: accepts(machine.ports["kafka"]))


def find_onnxruntime() -> None:
    """Lets the worker find the ONNX Runtime of scripts/setup.sh."""
    os.environ.setdefault("ORT_DYLIB_PATH", str(ROOT / ".dorfman/onnxruntime/lib/libonnxruntime.so"))
