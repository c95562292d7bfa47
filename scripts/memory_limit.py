"""A limit of the memory of one process, enforced by the kernel with a control group (cgroup v1 or v2).

The control group is a child of the script's own group. Some machines do not allow this. The process
then has no limit, and the caller must report that.
"""

import contextlib
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
# The process of the shell enters the group, then becomes the program.
ENTER = 'echo $$ > "$0" && exec "$@"'


class MemoryLimit:
    """A control group with a limit of `limit` bytes. Swap does not extend it."""

    def __init__(self, folder: Path, limit: int, old: bool) -> None:
        self._folder, self._old = folder, old
        names = ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"] if old else ["memory.max", "memory.swap.max"]
        (folder / names[0]).write_text(str(limit))
        with contextlib.suppress(OSError):  # Not every kernel counts swap.
            (folder / names[1]).write_text(str(limit if old else 0))

    def prefix(self) -> list[str]:
        """Returns the command that starts a program in the group. The process id stays the same."""
        return ["sh", "-c", ENTER, str(self._folder / "cgroup.procs")]

    def kills(self) -> int:
        """Returns how many processes the kernel has ended because of the limit."""
        text = (self._folder / ("memory.oom_control" if self._old else "memory.events")).read_text()
        return sum(int(line.split()[1]) for line in text.splitlines() if line.split()[0] == "oom_kill")

    def remove(self) -> None:
        """Removes the group. Its processes must have ended."""
        self._folder.rmdir()


def memory_limit(name: str, limit: int) -> MemoryLimit | None:
    """Makes a limit of `limit` bytes. Returns `None` if this machine does not allow it."""
    for parent, old in _parents():
        folder = parent / name
        try:
            folder.mkdir()
        except OSError:
            continue
        try:
            return MemoryLimit(folder, limit, old)
        except OSError:
            folder.rmdir()
    return None


def _parents() -> list[tuple[Path, bool]]:
    """Returns the groups below which a group may be made, and whether they are of cgroup v1."""
    found = []
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            found.append((CGROUPS / "memory" / path.lstrip("/"), True))
        elif not controllers and (CGROUPS / "cgroup.controllers").exists():
            # With v2, a group with processes cannot have groups with limits, unless it is the first.
            found += [(CGROUPS / path.lstrip("/"), False), (CGROUPS, False)]
    return found
