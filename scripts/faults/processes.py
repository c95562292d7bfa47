"""Processes that the harness starts. None of them outlives the harness."""

import os
import random
import signal
import socket
import subprocess
from pathlib import Path

# Outside the range from which systems take ports for outgoing connections. A broker that is down
# for a while then still finds its port free.
PORTS = range(20_000, 32_000)


class HarnessError(Exception):
    """The harness itself cannot go on. The message names the problem, then the fix."""


class Process:
    """A process and its log. The kernel kills the process when the harness dies."""

    def __init__(self, command: list[str], log: Path, folder: Path, environment: dict[str, str] | None = None) -> None:
        self.log = log
        wrapped = ["setpriv", "--pdeathsig", "KILL", *command]
        with open(log, "ab") as out:
            self._process = subprocess.Popen(
                wrapped, cwd=folder, env=os.environ | (environment or {}), stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def code(self) -> int | None:
        """Returns the exit code, or minus the signal that ended the process. `None` while it runs."""
        return self._process.poll()

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        """Ends the process at once, also if it is stopped."""
        self._process.kill()
        self._process.wait()

    def tail(self, lines: int = 8) -> list[str]:
        return self.log.read_text(errors="replace").splitlines()[-lines:]


def free_ports(count: int) -> list[int]:
    """Returns ports of 127.0.0.1 that nothing uses."""
    found: list[int] = []
    for port in random.SystemRandom().sample(PORTS, len(PORTS)):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                found.append(port)
        if len(found) == count:
            return found
    raise HarnessError(f"fewer than {count} ports from {PORTS.start} to {PORTS.stop} are free; stop other servers")
