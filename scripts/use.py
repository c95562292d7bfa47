"""What a process has used."""

import os
from dataclasses import dataclass
from pathlib import Path

MIB = 1 << 20
TICKS = os.sysconf("SC_CLK_TCK")
USER, SYSTEM = 11, 12  # the fields of /proc/PID/stat after the name


@dataclass(frozen=True)
class Use:
    """CPU seconds, and the peak of the memory in MiB."""

    cpu: float
    peak: float

    @staticmethod
    def of(pid: int) -> "Use":
        """Returns what a running process has used since its start."""
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return Use((int(fields[USER]) + int(fields[SYSTEM])) / TICKS, memory(pid)["VmHWM"] / MIB)


def memory(pid: int) -> dict[str, int]:
    """Returns the memory of a process in bytes, by the names of the kernel. Empty if the process has ended."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {line.split(":")[0]: int(line.split()[1]) << 10 for line in lines if line.startswith(("VmHWM", "VmRSS"))}
