"""The store of images as the harness sees it: the process of the image server, and its mode."""

import subprocess
import sys
from pathlib import Path

from .processes import HarnessError, free_ports


class Store:
    """The image server. It serves the files of a folder until `stop`."""

    def __init__(self, folder: Path) -> None:
        (self.port,) = free_ports(1)
        command = [sys.executable, str(Path(__file__).with_name("images.py")), str(self.port), str(folder)]
        # The server ends when its standard input ends, also if the harness is killed.
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.tell("ok")

    def tell(self, mode: str) -> None:
        """Sets the mode, such as `hang` or `slow 1.5`, and waits until it is in effect."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{mode}\n")
        self._process.stdin.flush()
        if self._process.stdout.readline().strip() != "ok":
            raise HarnessError(f"the image server ended with {self._process.wait()} in mode `{mode}`; its error is above")

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{name}"

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
