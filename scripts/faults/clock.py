"""The wall clock of one worker, which can be set. Its monotonic clock is not changed.

libfaketime does not change the waits inside the C library, such as C11's cnd_timedwait, with which
librdkafka waits. While the clock is an hour ahead, each such wait lasts an hour longer, unless
something wakes its thread. On a machine whose clock is set back, only the waits of that moment do.
"""

import glob
from pathlib import Path

LIBRARY = "/usr/lib/*/faketime/libfaketimeMT.so.1"


class Clock:
    """A clock that a process sees if it is started with `environment`."""

    def __init__(self, folder: Path) -> None:
        libraries = glob.glob(LIBRARY)
        self.missing = "" if libraries else "libfaketime is missing; install the Debian package faketime"
        self._file = folder / "clock"
        self.set(0)
        self.environment = (
            {
                "LD_PRELOAD": libraries[0],
                "FAKETIME_TIMESTAMP_FILE": str(self._file),
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                "FAKETIME_CACHE_DURATION": "1",
            }
            if libraries
            else {}
        )

    def set(self, seconds: int) -> None:
        """Sets the clock ahead (or back) of the true time."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        new.rename(self._file)
