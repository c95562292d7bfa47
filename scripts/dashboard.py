#!/usr/bin/env python3
"""Writes charts/dorfman/files/dashboard.json, the Grafana dashboard.

With --check it writes nothing and fails if the file is out of date. The queries use the metrics of
src/ops/metrics.rs; tests/metrics.rs compares them with the metrics that a worker exports.
"""

import argparse
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

OUT = Path(__file__).parent.parent / "charts/dorfman/files/dashboard.json"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
# The choice of workers above the panels. A worker outside Kubernetes has no namespace; `.*` matches
# that too.
WHICH = 'namespace=~"$namespace", job=~"$job"'
WIDTH, HEIGHT = 8, 7
HEAD = 4


@dataclass
class Panel:
    """A graph. `@` in a query is replaced by the choice of workers; other labels may come before it."""

    title: str
    about: str
    queries: dict[str, str]
    unit: str = "short"
    stack: bool = False
    limits: dict = field(default_factory=dict)


def per_second(metric: str, by: str = "", more: str = "") -> str:
    inner = f"rate({metric}{{{more}@}}[$__rate_interval])"
    return f"sum by ({by}) ({inner})" if by else f"sum({inner})"


def quantile(q: float, metric: str, by: str = "") -> str:
    labels = "le, " + by if by else "le"
    return f"histogram_quantile({q}, sum by ({labels}) (rate({metric}_bucket{{@}}[$__rate_interval])))"


ITEMS = per_second("dorfman_items_total")
FLAGGED = per_second("dorfman_items_total", more='verdict="flagged", ')
SPENT, SAVED = per_second("dorfman_network_macs_total"), per_second("dorfman_network_macs_saved_total")
JUDGED = per_second("dorfman_items_total", more='verdict!="failed", ')
# Without exits there are no series of exits.
EARLY = f"({per_second('dorfman_exit_cleared_total')} or 0 * {JUDGED})"
FOUND, AUDITS = (f"sum(increase({m}{{@}}[$__range]))" for m in ("dorfman_audits_flagged_total", "dorfman_audits_total"))

NUMBERS = [
    ("Images per second", ITEMS, "short"),
    ("Flagged", f"{FLAGGED} / {ITEMS}", "percentunit"),
    ("Multiply-adds saved", f"{SAVED} / ({SAVED} + {SPENT})", "percentunit"),
    ("Messages behind", "sum(dorfman_consumer_lag_messages{@})", "short"),
    ("Workers ready", "sum(dorfman_ready{@})", "short"),
    ("Workers on CPU fallback", "sum(dorfman_provider_fallback{@})", "short"),
]

ROWS = {
    "Verdicts": [
        Panel(
            "Images by verdict",
            "Images per second that got their verdict.",
            {"{{verdict}}": per_second("dorfman_items_total", "verdict")},
            "cps",
            stack=True,
        ),
        Panel(
            "Flagged share",
            "Share of flagged images among all images. With group.size auto also the worker's estimate of the share of positives.",
            {"flagged": f"{FLAGGED} / {ITEMS}", "estimated prevalence, risk band from {{band}}": "avg by (band) (dorfman_prevalence_estimate{@})"},
            "percentunit",
        ),
        Panel(
            "Flags by label",
            "Flagged images per second. An image may have several labels.",
            {"{{label}}": per_second("dorfman_flagged_total", "label")},
            "cps",
        ),
        Panel(
            "Confirm network",
            "Images that the confirm network tested, and images that it found positive too.",
            {"tested": per_second("dorfman_confirm_tests_total"), "confirmed": per_second("dorfman_confirmed_total")},
            "cps",
        ),
        Panel(
            "Dead letters",
            "Images that could not be scored, by reason.",
            {"{{reason}}": per_second("dorfman_dead_letters_total", "reason")},
            "cps",
            stack=True,
        ),
        Panel(
            "What exits and pooling miss",
            "Estimated from audits: the share of the images flagged by individual testing that exits and pooling miss, "
            "as an average over the workers. Also the share of audits in the time shown whose image was flagged.",
            {"{{bound}}, mean of workers": "avg by (bound) (dorfman_audit_miss_rate{@})", "audits that flagged": f"{FOUND} / {AUDITS}"},
            "percentunit",
        ),
    ],
    "Exits": [
        Panel(
            "Cleared by exits",
            "Share of all images that each exit clears, before the rest of the network runs.",
            {"exit {{exit}}": f"{per_second('dorfman_exit_cleared_total', 'exit')} / on () group_left {ITEMS}"},
            "percentunit",
            stack=True,
        ),
        Panel(
            "Share that an exit clears",
            "Of the images that reach an exit, the share that it clears, and the share by the calibration.",
            {
                "exit {{exit}}": f"{per_second('dorfman_exit_cleared_total', 'exit')} / {per_second('dorfman_exit_scored_total', 'exit')}",
                "exit {{exit}}, by the calibration": "avg by (exit) (dorfman_exit_expected_cleared_ratio{@})",
            },
            "percentunit",
        ),
        Panel(
            "Audits",
            "Images that pooling or an exit cleared and that were also tested alone, per second.",
            {"audits": per_second("dorfman_audits_total"), "flagged": per_second("dorfman_audits_flagged_total")},
        ),
    ],
    "Tests": [
        Panel(
            "Tests per image, by round",
            "Individual testing takes 1 test per image.",
            {"round {{round}}": f"{per_second('dorfman_tests_total', 'round')} / on () group_left {ITEMS}"},
            stack=True,
        ),
        Panel(
            "Positive tests",
            "Share of the tests of a round that are positive.",
            {"round {{round}}": f"{per_second('dorfman_positive_tests_total', 'round')} / {per_second('dorfman_tests_total', 'round')}"},
            "percentunit",
        ),
        Panel(
            "Group size",
            "Images per group: as planned, and as formed. Formed groups are smaller where group.max_wait closes them early.",
            {
                "plan, risk band from {{band}}": "avg by (band) (dorfman_plan_group_size{@})",
                "formed": f"({JUDGED} - {EARLY}) / {per_second('dorfman_groups_total')}",
            },
        ),
        Panel(
            "Cost",
            "Multiply-adds relative to testing each image alone: spent, and with group.size auto also expected by the plan.",
            {"spent": f"{SPENT} / ({SAVED} + {SPENT})", "expected, risk band from {{band}}": "avg by (band) (dorfman_plan_cost_ratio{@})"},
            "percentunit",
        ),
        Panel("Plan changes", "Changes per hour, of all workers.", {"changes": "sum(increase(dorfman_plan_changes_total{@}[1h]))"}),
        Panel("Multiply-adds", "Spent and saved per second.", {"spent": SPENT, "saved": SAVED}, "short", stack=True),
    ],
    "Network": [
        Panel(
            "Batch fill",
            "Mean share of engine.max_batch that a run uses.",
            {"stage {{stage}}": f"{per_second('dorfman_batch_fill_ratio_sum', 'stage')} / {per_second('dorfman_batch_fill_ratio_count', 'stage')}"},
            "percentunit",
            limits={"min": 0, "max": 1},
        ),
        Panel("Seconds per run", "99th percentile, by stage.", {"stage {{stage}}": quantile(0.99, "dorfman_stage_seconds", "stage")}, "s"),
        Panel(
            "Network busy",
            "Seconds in the network per second. The engine runs one stage at a time, so the maximum is 1 per worker, or 2 with a screen, which runs beside the engine.",
            {"stage {{stage}}": per_second("dorfman_network_seconds_total", "stage")},
            "short",
            stack=True,
        ),
        Panel(
            "Time relative to the profile",
            "Measured seconds divided by the seconds that the profile expects. Empty without a profile.",
            {
                "stage {{stage}}": f"{per_second('dorfman_network_seconds_total', 'stage')} / "
                f"{per_second('dorfman_network_expected_seconds_total', 'stage')}"
            },
        ),
        Panel(
            "Padding",
            "Share of the batch rows that only fill a batch up to its bucket size.",
            {"stage {{stage}}": f"{per_second('dorfman_network_padding_rows_total', 'stage')} / {per_second('dorfman_network_rows_total', 'stage')}"},
            "percentunit",
        ),
        Panel("Runs", "Runs of a stage per second.", {"stage {{stage}}": per_second("dorfman_network_runs_total", "stage")}, "cps"),
    ],
    "Flow": [
        Panel(
            "Messages behind",
            "Messages between the last committed and the last offset, by topic.",
            {"{{topic}}": "sum by (topic) (dorfman_consumer_lag_messages{@})", "worst partition": "max(dorfman_consumer_lag_messages{@})"},
        ),
        Panel(
            "Age at the verdict",
            "Seconds from receiving a message to its verdict.",
            {"median": quantile(0.5, "dorfman_verdict_age_seconds"), "99 %": quantile(0.99, "dorfman_verdict_age_seconds")},
            "s",
        ),
        Panel(
            "Age of the record at the verdict",
            "Seconds from the timestamp of a record to its verdict: the time in the topic, and in the worker. Flagged items take the most tests.",
            {"{{verdict}}, median": quantile(0.5, "dorfman_record_age_seconds", "verdict"), "{{verdict}}, 99 %": quantile(0.99, "dorfman_record_age_seconds", "verdict")},
            "s",
        ),
        Panel(
            "Age when decoded",
            "Seconds from receiving a message to its decoded pixels.",
            {"median": quantile(0.5, "dorfman_decoded_age_seconds"), "99 %": quantile(0.99, "dorfman_decoded_age_seconds")},
            "s",
        ),
        Panel(
            "Received and in flight",
            "Messages received per second, and items in the engine.",
            {"received per second": per_second("dorfman_messages_received_total"), "in the engine": "sum(dorfman_engine_items{@})"},
        ),
        Panel(
            "Queues",
            "Batches that wait for a stage. The stage with the fullest queue is the slow one.",
            {"{{stage}}": "sum by (stage) (dorfman_queue_batches{@})", "blocked sources": "sum(dorfman_source_blocked{@})"},
        ),
        Panel(
            "Waiting for hosts",
            "Fetches that wait for the turn of their host, and workers that wait for a store of images that is down.",
            {"fetches": "sum(dorfman_fetch_waiting{@})", "workers in an outage": "sum(dorfman_fetch_outage{@})"},
        ),
        Panel(
            "Messages without an image to judge",
            "Tombstones, and messages that were deleted before they were read.",
            {"tombstones": per_second("dorfman_tombstones_total"), "deleted unread": per_second("dorfman_skipped_messages_total")},
            "cps",
        ),
        Panel(
            "CPU of fetch and decode",
            "CPU seconds per second, which is the number of cores in use.",
            {"{{part}}": per_second("dorfman_ingest_cpu_seconds_total", "part")},
            stack=True,
        ),
    ],
    "Group and workers": [
        Panel(
            "Commits and rebalances",
            "Commits per second, and assignments and revocations in 15 minutes.",
            {"commits": per_second("dorfman_commits_total"), "rebalances": "sum(increase(dorfman_rebalances_total{@}[15m]))"},
        ),
        Panel("Consumer errors", "Errors per second.", {"{{instance}}": per_second("dorfman_consumer_errors_total", "instance")}, "cps"),
        Panel(
            "Versions",
            "Workers by version, bundle and plan.",
            {"{{version}}, {{bundle}} {{bundle_version}}, {{plan}}": "count by (version, bundle, bundle_version, plan) (dorfman_build_info{@})"},
            stack=True,
        ),
        Panel("Uptime", "Time since each worker started.", {"{{instance}}": "time() - dorfman_start_time_seconds{@}"}, "s"),
    ],
}


def targets(queries: dict[str, str]) -> list[dict]:
    return [
        {"datasource": SOURCE, "refId": chr(65 + i), "expr": query.replace("@", WHICH), "legendFormat": legend, "editorMode": "code", "range": True}
        for i, (legend, query) in enumerate(queries.items())
    ]


def number(i: int, title: str, query: str, unit: str) -> dict:
    width = 24 // len(NUMBERS)
    return {
        "type": "stat",
        "title": title,
        "datasource": SOURCE,
        "gridPos": {"x": i * width, "y": 0, "w": width, "h": HEAD},
        "targets": targets({title: query}),
        "fieldConfig": {"defaults": {"unit": unit, "color": {"mode": "fixed", "fixedColor": "text"}}, "overrides": []},
        "options": {
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "graphMode": "area",
            "colorMode": "value",
            "justifyMode": "auto",
            "textMode": "auto",
            "orientation": "auto",
            "wideLayout": True,
            "showPercentChange": False,
            "percentChangeColorMode": "standard",
        },
    }


def graph(panel: Panel, x: int, y: int) -> dict:
    custom = {
        "lineWidth": 1,
        "fillOpacity": 20 if panel.stack else 0,
        "showPoints": "never",
        "stacking": {"mode": "normal" if panel.stack else "none", "group": "A"},
    }
    return {
        "type": "timeseries",
        "title": panel.title,
        "description": panel.about,
        "datasource": SOURCE,
        "gridPos": {"x": x, "y": y, "w": WIDTH, "h": HEIGHT},
        "targets": targets(panel.queries),
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0, **panel.limits, "custom": custom}, "overrides": []},
        "options": {
            "legend": {"showLegend": True, "displayMode": "list", "placement": "bottom", "calcs": []},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    }


def panels() -> list[dict]:
    made = [number(i, *n) for i, n in enumerate(NUMBERS)]
    y = HEAD
    for row, graphs in ROWS.items():
        made.append({"type": "row", "title": row, "collapsed": False, "panels": [], "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}})
        y += 1
        made += [graph(g, i % 3 * WIDTH, y + i // 3 * HEIGHT) for i, g in enumerate(graphs)]
        y += (len(graphs) + 2) // 3 * HEIGHT
    return [{"id": i + 1, **p} for i, p in enumerate(made)]


def choice(label: str, filters: str) -> dict:
    query = f"label_values(dorfman_build_info{{{filters}}}, {label})"
    return {
        "name": label,
        "label": label,
        "type": "query",
        "datasource": SOURCE,
        "definition": query,
        "query": {"query": query, "refId": label},
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "refresh": 2,
        "sort": 1,
        "options": [],
    }


def dashboard() -> dict:
    source = {
        "name": "datasource",
        "label": "source",
        "type": "datasource",
        "query": "prometheus",
        "current": {"text": "", "value": ""},
        "options": [],
        "refresh": 1,
    }
    return {
        "uid": "dorfman",
        "title": "Dorfman",
        "tags": ["dorfman"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "timezone": "",
        "description": "Verdicts, tests, cost, flow and state of the workers. Generated by scripts/dashboard.py.",
        "time": {"from": "now-3h", "to": "now"},
        "refresh": "30s",
        "graphTooltip": 1,
        "annotations": {"list": []},
        "links": [],
        "templating": {"list": [source, choice("namespace", ""), choice("job", 'namespace=~"$namespace"')]},
        "panels": panels(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the file is out of date")
    text = json.dumps(dashboard(), indent=1) + "\n"
    if not parser.parse_args().check:
        OUT.write_text(text)
    elif not OUT.exists() or OUT.read_text() != text:
        sys.exit(f"dashboard: {OUT.name} is out of date: run scripts/dashboard.py")


main()
