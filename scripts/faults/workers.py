"""The workers: their configuration by group protocol, their processes, and their exits."""

import json
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine import ROOT

from .cluster import SESSION_TIMEOUT_MS
from .evidence import Exit, Window
from .items import BUNDLE, SAMPLES
from .processes import Process, free_ports
from .topics import DEAD, FLAGGED, GROUP, SOURCE, VERDICTS
from .worker_log import WorkerLog

RESTART_AFTER = 1.0

# The properties of the consumer for each group protocol. A static member also has a name.
_CLASSIC = {"session.timeout.ms": str(SESSION_TIMEOUT_MS), "heartbeat.interval.ms": "1500"}
PROTOCOLS: dict[str, dict[str, str]] = {
    "eager": _CLASSIC | {"partition.assignment.strategy": "range"},
    "cooperative": _CLASSIC,
    "static": _CLASSIC | {"group.instance.id": "{name}"},
    "consumer": {"group.protocol": "consumer"},
}


@dataclass
class Places:
    """What the workers' configurations name: brokers, folders whose files may be read."""

    brokers: str
    roots: list[Path]
    folder: Path


@dataclass
class Allowed:
    """The exits that a fault allows at present, of one worker."""

    fault: str
    codes: set[int]


class Worker:
    """One worker. It is started again by `tick` after it has ended by itself."""

    def __init__(self, name: str, binary: Path, places: Places, environment: dict[str, str]) -> None:
        self.name, self._binary, self._places = name, binary, places
        self._environment = environment
        (self._port,) = free_ports(1)
        self._process: Process | None = None
        self._starts = 0
        self._restart_at: float | None = None
        self._allowed: Allowed | None = None
        self._log: WorkerLog | None = None
        self._extra: dict[str, str] = {}
        self.protocol = ""
        self.exits: list[Exit] = []
        # Times in which items may have been read again, by the worker's own logs.
        self.windows: list[Window] = []

    @property
    def ops(self) -> str:
        """The address of /metrics, /healthz and /readyz."""
        return f"http://127.0.0.1:{self._port}"

    def running(self) -> bool:
        return self._process is not None

    def start(self, protocol: str, extra: dict[str, str] | None = None) -> None:
        """Starts the process if it does not run, with extra environment variables that also hold after a restart."""
        if self._process is not None:
            return
        self.protocol, self._extra = protocol, extra or {}
        self._restart_at = None
        self._starts += 1
        config = self._places.folder / f"{self.name}.yaml"
        config.write_text(json.dumps(self._config(), indent=1))
        log = self._places.folder / f"{self.name}.{self._starts}.log"
        command = [str(self._binary), "run", "--config", str(config)]
        self._process = Process(command, log, ROOT, self._environment | self._extra)
        self._log = WorkerLog(self.name, log, self.windows)

    def kill(self, fault: str) -> None:
        """Sends SIGKILL and takes note of the exit."""
        self._allowed = Allowed(fault, {-signal.SIGKILL})
        if self._process is not None:
            self._process.kill()
            self._note_exit(-signal.SIGKILL)

    def terminate(self, fault: str, codes: set[int] | None = None) -> None:
        """Sends SIGTERM. The worker must then end with one of the codes, by default with 0."""
        self._allowed = Allowed(fault, codes or {0})
        self.signal(signal.SIGTERM)

    def signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.signal(number)

    def allow_exits(self, fault: str, codes: set[int]) -> None:
        """Allows exits with these codes until `forbid_exits`."""
        self._allowed = Allowed(fault, codes)

    def forbid_exits(self) -> None:
        self._allowed = None

    def tick(self) -> None:
        """Takes note of an exit and of the log, and starts the process again when it is time."""
        if self._process is not None:
            self._read_log()
            code = self._process.code()
            if code is not None:
                self._note_exit(code)
        elif self._restart_at is not None and time.monotonic() >= self._restart_at:
            self.start(self.protocol, self._extra)

    def _note_exit(self, code: int) -> None:
        assert self._process is not None
        self._read_log()
        allowed = self._allowed
        fits = allowed is not None and code in allowed.codes
        asked = allowed.fault if allowed else ""
        self.exits.append(Exit(self.name, time.time(), code, asked, fits, self._process.tail()))
        self._process = None
        asked_to_stop = allowed is not None and fits and bool(allowed.codes & {0, -signal.SIGKILL})
        if asked_to_stop or not fits:
            self._allowed = None
        self._restart_at = None if asked_to_stop else time.monotonic() + RESTART_AFTER

    def _read_log(self) -> None:
        if self._log is not None:
            self._log.read()

    def close(self) -> None:
        """Ends the process at the end of the run."""
        if self._process is not None:
            self._process.kill()

    def _config(self) -> dict[str, Any]:
        places = self._places
        properties = {key: value.format(name=self.name) for key, value in PROTOCOLS[self.protocol].items()}
        return {
            "kafka": {"brokers": places.brokers, "group_id": GROUP},
            # A short drain, so that some rebalances during an outage of the store exceed it.
            "source": {"topic": SOURCE, "drain": "5s", "properties": properties | {"auto.commit.interval.ms": "1000"}},
            # Six attempts, so that no image of the store is given up before the store counts as down.
            "fetch": {
                "roots": [str(root) for root in places.roots],
                "allow_private": True,
                "connect_timeout": "2s",
                "timeout": "3s",
                "attempts": 6,
            },
            "decode": {"threads": 1},
            "model": {"bundle": str(BUNDLE), "threads": 1},
            "planning": {"prevalence": 0.01},
            # Shorter than the default of a minute, so that a recreated topic delays the run less.
            "sink": {"flagged_topic": FLAGGED, "verdicts_topic": VERDICTS, "dead_letter_topic": DEAD, "renew_after": "10s"},
            "shutdown": {"deadline": "8s"},
            "ops": {"listen": f"127.0.0.1:{self._port}"},
        }


def fetch_roots(broken: Path) -> list[Path]:
    return [SAMPLES, broken.parent]
