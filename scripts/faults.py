#!/usr/bin/env python3
"""Runs the fault harness: `scripts/faults.py --help`. The code is in the folder `faults`."""

import sys

try:
    import confluent_kafka  # noqa: F401
except ModuleNotFoundError:
    sys.exit("faults: the Python package confluent-kafka is missing; run scripts/setup.sh faults, then .dorfman/faults/bin/python scripts/faults.py")

from faults.main import main  # noqa: E402

main()
