#!/usr/bin/env bash
# Writes what is made from the code: the example configuration and the JSON Schemas, and what follows from the chart's values. Tests compare them.
set -euo pipefail
cd "$(dirname "$0")/.."
dorfman=${1:-target/release/dorfman}
"$dorfman" schema example >config/dorfman.example.yaml
"$dorfman" schema config >config/dorfman.schema.json
for subject in bundle profile reference flag verdict dead-letter; do
    "$dorfman" schema "$subject" >"config/$subject.schema.json"
done
echo "written: config/dorfman.example.yaml, config/*.schema.json"
# After the schemas: the worker's is a part of the chart's. For YAML it needs scripts/setup.sh kubernetes-validate.
.dorfman/venv/bin/python scripts/generate_chart.py
