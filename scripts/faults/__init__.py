"""The fault harness: real workers, real Kafka, real faults, and an oracle that finds what was lost.

`scripts/faults.py --help` describes a run. The modules, from the outside in:

- `main`: the command line; `run`: one run from start to report.
- `schedule`: which faults, by seed; `kinds_*`: what a fault does and which effects it may have.
- `system`: everything that runs: `cluster` and `disk` (brokers), `images` (the image server),
  `workers`, `producer`, `collector`.
- `items` and `ledger`: what was produced, and the result that each item must have.
- `oracle`: the checks (pure); `report`: the tables.
"""
