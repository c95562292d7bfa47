"""How fast items are produced: steadily, so that every fault meets a stream."""

import threading
import time


class Pace:
    """The share of all items that is due by now. The speed is corrected as the schedule advances."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._share, self._speed, self._since = 0.0, 0.0, time.monotonic()

    def share(self) -> float:
        with self._lock:
            return self._due()

    def finish_in(self, seconds: float) -> None:
        """Sets the speed so that the items that are left last for `seconds`."""
        with self._lock:
            self._share, self._since = self._due(), time.monotonic()
            self._speed = (1 - self._share) / max(seconds, 1.0)

    def _due(self) -> float:
        return min(1.0, self._share + self._speed * (time.monotonic() - self._since))
