"""The command `scripts/faults.py`."""

import shutil
import signal
import sys
from typing import Any

from . import report
from .kinds import KINDS
from .options import parse
from .processes import HarnessError
from .run import Run
from .schedule import PROTOCOL


def main() -> None:
    options = parse(None, [kind for kind in KINDS if kind != PROTOCOL])
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        run = Run(options)
        try:
            result = run.play()
        finally:
            run.system.stop()
    except HarnessError as error:
        sys.exit(_failed(f"faults: {error}"))
    except KeyboardInterrupt:
        sys.exit(_failed("faults: interrupted; all processes are stopped"))
    report.write(result, options.out)
    report.show(result)
    if not (options.keep or result.violations):
        shutil.rmtree(run.logs)
    print(f"\nfaults: {len(result.violations)} violations; the report is {options.out / 'report.md'}")
    sys.exit(1 if result.violations else 0)


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def _failed(message: str) -> int:
    print(message, file=sys.stderr)
    return 2
