"""The contenders of the comparison: this worker with three plans, and what an engineer would use instead."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from machine import ROOT, Machine
from measuring import PLANS, Run, Worker, all_items, scraped, start

SCRIPTS = ROOT / "scripts"
PYTHON = ROOT / ".dorfman/peers/bin/python"
# The confirm network is an option that the peers do not have.
SETTINGS = """
fetch: {{ roots: ["{folder}"] }}
sink: {{ flagged_topic: {flagged} }}
planning: {{ prevalence: {share} }}
"""
PLAIN = ["python", "bytewax"]
SCREENED = "python + screen"


@dataclass(frozen=True)
class Task:
    """The topic that a contender reads, the topic of its flags, and what it needs to judge the images."""

    name: str
    topic: str
    flagged: str
    items: int
    share: float
    bundle: Path
    peer: Path


@dataclass(frozen=True)
class Started:
    """A contender that runs. `judged` returns the number of images that it has judged."""

    name: str
    pid: int
    judged: Callable[[], float]


def contenders(worker: Path) -> dict[str, Callable[[Machine, Task], Started]]:
    """Returns how to start each contender. The program of the worker is `worker`."""
    ours = {name: starts_worker(worker, plan) for name, plan in PLANS.items()}
    python = _starts_script("python_worker.py", "--group", "{group}")
    screened = _starts_script("python_worker.py", "--group", "{group}", "--screen")
    return ours | {"python": python, SCREENED: screened, "bytewax": _starts_script("bytewax_worker.py")}


def starts_worker(worker: Path, plan: str) -> Callable[[Machine, Task], Started]:
    """Returns how to start the worker with a part of its configuration."""

    def start_worker(machine: Machine, task: Task) -> Started:
        settings = SETTINGS.format(folder=machine.folder, flagged=task.flagged, share=task.share)
        model = Worker(worker, task.bundle, confirm=False)
        run = Run(task.name, task.topic, task.items, settings + plan)
        pid = start(machine, model, run)
        return Started(task.name, pid, lambda: all_items(scraped(machine)))

    return start_worker


def _starts_script(script: str, *options: str) -> Callable[[Machine, Task], Started]:
    """Returns how to start a worker in Python. In its options, `{group}` stands for its consumer group."""

    def start_script(machine: Machine, task: Task) -> Started:
        brokers = f"127.0.0.1:{machine.ports['kafka']}"
        topics = ["--topic", task.topic, "--flagged", task.flagged]
        command: list[str | Path] = [PYTHON, SCRIPTS / script, "--brokers", brokers, *topics, "--peer", task.peer]
        process = machine.start(task.name, *command, *(option.format(group=task.name) for option in options))
        log = machine.folder / f"{task.name}.log"
        return Started(task.name, process.pid, lambda: _last_judged(log))

    return start_script


def _last_judged(log: Path) -> float:
    lines = log.read_text(errors="replace").splitlines()
    return next((float(line.split()[1]) for line in reversed(lines) if line.startswith("judged ")), 0.0)
