"""What a process has used."""

import os
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
USER, SYSTEM = 11, 12  # the fields of /proc/PID/stat after the name


@dataclass(frozen=True)
class Use:
    """CPU seconds, and the peak of the memory in MiB."""

    cpu: float
    peak: float

    @staticmethod
    def of(pid: int) -> "Use":
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        status = Path(f"/proc/{pid}/status").read_text().splitlines()
        peak = next(line for line in status if line.startswith("VmHWM"))
        return Use((int(fields[USER]) + int(fields[SYSTEM])) / TICKS, int(peak.split()[1]) / 1024)
