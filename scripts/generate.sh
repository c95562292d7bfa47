#!/usr/bin/env bash
# Writes the generated files: the example configuration and the JSON Schemas from the code, and the
# chart's schema and README table from its values. Tests compare these files with their sources.
set -euo pipefail
cd "$(dirname "$0")/.."
dorfman=${1:-target/release/dorfman}
"$dorfman" schema example >config/dorfman.example.yaml
"$dorfman" schema config >config/dorfman.schema.json
for subject in bundle profile reference flag verdict dead-letter; do
    "$dorfman" schema "$subject" >"config/$subject.schema.json"
done
echo "written: config/dorfman.example.yaml, config/*.schema.json"
# This runs after the schemas, because the worker's schema is a part of the chart's. It needs a
# Python with a YAML library: scripts/setup.sh kubernetes-validate.
.dorfman/venv/bin/python scripts/generate_chart.py
