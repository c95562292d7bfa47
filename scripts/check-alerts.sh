#!/usr/bin/env bash
# Checks the rules, their tests, the dashboard's queries, and the configuration of Prometheus and
# Alertmanager in compose, with promtool and amtool. tests/metrics.rs checks that the worker exports
# the metrics that rules and dashboard query. Needs `scripts/setup.sh prometheus`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly rules=charts/dorfman/files/alerts.yaml
readonly tests=charts/dorfman/tests/alerts
tools=$(realpath .dorfman)/prometheus/usr/bin
work=$(mktemp -d)
readonly tools work
trap 'rm -rf "$work"' EXIT

say() { printf 'check-alerts: %s\n' "$*"; }

# quietly WHAT COMMAND...: runs a command and shows its output only if it fails.
quietly() {
    local what=$1
    shift
    "$@" >"$work/log" 2>&1 || {
        cat "$work/log" >&2
        printf 'check-alerts: failed: %s\n' "$what" >&2
        exit 1
    }
}

quietly "the rules" "$tools/promtool" check rules "$rules"
# The queries are checked as rules, because promtool does not read dashboards. Grafana's variables
# are replaced by values first.
python3 - >"$work/dashboard.yaml" <<'PYTHON'
import json

queries = [t["expr"] for p in json.load(open("charts/dorfman/files/dashboard.json"))["panels"] for t in p.get("targets", [])]
for variable, value in [("$__rate_interval", "1m"), ("$__range", "3h"), ("$namespace", ".*"), ("$job", ".*")]:
    queries = [q.replace(variable, value) for q in queries]
print(json.dumps({"groups": [{"name": "dashboard", "rules": [{"record": f"q{i}", "expr": q} for i, q in enumerate(queries)]}]}))
PYTHON
quietly "the dashboard's queries" "$tools/promtool" check rules "$work/dashboard.yaml"
quietly "the dashboard" scripts/dashboard.py --check
cp config/compose/prometheus.yaml "$rules" "$work"
quietly "compose's Prometheus" "$tools/promtool" check config "$work/prometheus.yaml"
quietly "compose's Alertmanager" "$tools/amtool" check-config config/compose/alertmanager.yaml
# The capacity table is in the same guide as the alerts.
scripts/capacity.py --markdown | python3 -c 'import sys; sys.exit(sys.stdin.read() not in open("docs/operations.md").read())' || {
    printf 'check-alerts: the capacity table in docs/operations.md is out of date: replace it with the output of scripts/capacity.py --markdown\n' >&2
    exit 1
}
say "rules, dashboard and the configuration of compose are valid"

# Every alert needs a test that shows it firing.
while read -r alert; do
    grep -qhE "alertname(: |=\")$alert\b" "$tests"/*.yaml || {
        printf 'check-alerts: %s has no test in %s; add one\n' "$alert" "$tests" >&2
        exit 1
    }
done < <(sed -n 's/^ *- alert: //p' "$rules")
quietly "the rules' tests" "$tools/promtool" test rules "$tests"/*.yaml
say "$(grep -c '^ *- alert: ' "$rules") alerts fire when they should, and only then ($(cat "$tests"/*.yaml | grep -c '^  - name: ') tests)"
