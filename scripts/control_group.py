"""Limits of one process, enforced by the kernel with a control group (cgroup v1 or v2).

The control group is a child of the script's own group. Some machines do not allow this. The process
then has no limit, and the caller must report that.
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
# The process of the shell enters the groups, then becomes the program.
ENTER = 'for group in $0; do echo $$ >"$group/cgroup.procs" || exit; done; exec "$@"'
PERIOD = 100_000  # microseconds, the kernel's default


@dataclass(frozen=True)
class Limits:
    """The bytes of memory and the CPU seconds per second that a process may use. `None`: no limit."""

    memory: int | None = None
    cpus: float | None = None

    def files(self, old: bool) -> dict[str, dict[str, str]]:
        """Returns the contents of the control files, by controller."""
        found: dict[str, dict[str, str]] = {}
        if self.memory is not None:
            found["memory"] = {"memory.limit_in_bytes" if old else "memory.max": str(self.memory)}
        if self.cpus is not None:
            quota = str(round(self.cpus * PERIOD))
            v1 = {"cpu.cfs_period_us": str(PERIOD), "cpu.cfs_quota_us": quota}
            found["cpu"] = v1 if old else {"cpu.max": f"{quota} {PERIOD}"}
        return found


class ControlGroup:
    """A control group: one folder, or with cgroup v1 one per controller."""

    def __init__(self, folders: dict[str, Path]) -> None:
        self._folders = folders

    def prefix(self) -> list[str]:
        """Returns the command that starts a program in the group. The process id stays the same."""
        return ["sh", "-c", ENTER, " ".join(sorted({str(folder) for folder in self._folders.values()}))]

    def kills(self) -> int:
        """Returns how many processes the kernel has ended because of the limit of memory."""
        for name in ("memory.events", "memory.oom_control"):
            if (file := self._folders["memory"] / name).exists():
                return _field(file, "oom_kill")
        return 0

    def throttled(self) -> float:
        """Returns the share of the periods in which the kernel stopped the processes because of the CPU quota."""
        file = self._folders["cpu"] / "cpu.stat"
        return _field(file, "nr_throttled") / max(1, _field(file, "nr_periods"))

    def remove(self) -> None:
        """Removes the group. Its processes must have ended."""
        for folder in set(self._folders.values()):
            folder.rmdir()


def _field(file: Path, name: str) -> int:
    return sum(int(line.split()[1]) for line in file.read_text().splitlines() if line.split()[0] == name)


def control_group(name: str, limits: Limits) -> ControlGroup | None:
    """Makes a control group. Returns `None` if this machine does not allow it."""
    for old in (False, True):
        made: dict[str, Path] = {}
        try:
            for controller, files in limits.files(old).items():
                made[controller] = folder = _parent(controller, old) / name
                folder.mkdir(exist_ok=folder in list(made.values())[:-1])
                for file, value in files.items():
                    (folder / file).write_text(value)
        except OSError:
            for folder in set(made.values()):
                with contextlib.suppress(OSError):
                    folder.rmdir()
            continue
        _without_swap(made, limits, old)
        return ControlGroup(made)
    return None


def _parent(controller: str, old: bool) -> Path:
    """Returns the group below which a group may be made. Raises FileNotFoundError if there is none."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if old and controller in controllers.split(","):
            return CGROUPS / controller / path.lstrip("/")
        if not old and not controllers and (CGROUPS / "cgroup.controllers").exists():
            # A group with processes cannot have groups with limits, unless it is the first.
            own = CGROUPS / path.lstrip("/")
            return own if controller in (own / "cgroup.subtree_control").read_text().split() else CGROUPS
    raise FileNotFoundError(controller)


def _without_swap(folders: dict[str, Path], limits: Limits, old: bool) -> None:
    """Keeps swap from extending the memory. Not every kernel counts swap."""
    if limits.memory is None:
        return
    file, value = ("memory.memsw.limit_in_bytes", limits.memory) if old else ("memory.swap.max", 0)
    with contextlib.suppress(OSError):
        (folders["memory"] / file).write_text(str(value))
