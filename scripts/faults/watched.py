"""Threads whose failure the main thread sees."""

import threading


class Watched(threading.Thread):
    """A thread. `failed` has the error if `work` has raised one."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.stopping = threading.Event()
        self.failed: Exception | None = None

    def run(self) -> None:
        try:
            self.work()
        except Exception as error:  # The main thread ends the run with it.
            self.failed = error

    def work(self) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        self.stopping.set()
        if self.is_alive():
            self.join(30)
