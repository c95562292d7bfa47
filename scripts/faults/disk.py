"""A small disk for one broker: a tmpfs in a mount namespace of its own, which can be filled."""

import os
import subprocess
from pathlib import Path

SCRIPT = 'mount -t tmpfs -o size="$2" tmpfs "$1" && echo mounted && exec cat'


class SmallDisk:
    """A tmpfs that only processes in its namespace see. It lasts until `close`.

    A process holds the namespace, so that the files survive the end of the broker.
    """

    def __init__(self, folder: Path, megabytes: int) -> None:
        root = os.geteuid() == 0
        self._flags = [] if root else ["--user", "--preserve-credentials"]
        namespace = ["unshare", *([] if root else ["--map-root-user"]), "--mount"]
        folder.mkdir(parents=True)
        command = [*namespace, "sh", "-c", SCRIPT, "disk", str(folder), f"{megabytes}m"]
        self._holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self._holder.stdout is not None and self._holder.stderr is not None
        if self._holder.stdout.readline().strip() != "mounted":
            why = self._holder.stderr.read().strip()
            self.close()
            raise OSError(why or "unshare failed")
        # The folder as the harness sees it, through the holder's root.
        self._seen = Path(f"/proc/{self._holder.pid}/root") / folder.relative_to("/")

    def inside(self, command: list[str]) -> list[str]:
        """Returns a command that runs `command` in the namespace."""
        return ["nsenter", "--target", str(self._holder.pid), *self._flags, "--mount", "--", *command]

    def fill(self) -> None:
        """Takes all free space."""
        with open(self._seen / "ballast", "wb", buffering=0) as ballast:
            block = bytes(1 << 20)
            while len(block) > 0:
                try:
                    ballast.write(block)
                except OSError:
                    block = block[: len(block) // 2]

    def empty(self) -> None:
        """Gives the space back."""
        (self._seen / "ballast").unlink(missing_ok=True)

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait()
