"""The tables of docs/results.md, made from the measurements in docs/results/SET.json. Pure: text and measurements in, text out."""

from __future__ import annotations

import re
from typing import Any, Iterable, Iterator

from results_sets import ARITIES, Set


def page(text: str, found: dict[Set, dict[str, Any]]) -> str:
    """The page with every table between its markers made anew. A table that no measurement fills is an error."""
    unknown = sorted(set(MARKER.findall(text)) - {each.name for each in found} - {"all"})
    if unknown:
        raise SystemExit(f"docs/results.md has tables of {', '.join(unknown)}, which docs/results/ has no measurements of")
    for each, measured in found.items():
        for name, lines in tables(measured):
            text = between(text, f"{each.name}: {name}", lines)
    return between(text, "all: cheapest", list(cheapest_table(found)))


MARKER = re.compile("<!-- ([^:>]*): [^>]* -->")
# What recall may be lost against individual testing with the same network, in points.
ALLOWED = {"fashion": 0.5, "clothing": 2.0, "firearms": 1.0}


def cheapest_table(found: dict[Set, dict[str, Any]]) -> Iterator[str]:
    """For every network the plan without a confirm network that takes the fewest network seconds of those that lose no more recall than
    is allowed, at the rarest prevalence."""
    yield head("images", "bundle", "may lose", "cheapest plan", "sensitivity", "against alone", "MACs", "network s")
    best: dict[tuple[str, str, str], dict[str, Any]] = {}
    for each, measured in found.items():
        if each.split != "test":
            continue
        rarest = min(row["prevalence"] for row in measured["rows"])
        names = {line["folder"]: line["name"] for line in measured["bundles"]}
        for row in measured["rows"]:
            key = (each.source, each.stream, names[row["bundle"]])
            kept = row["prevalence"] == rarest and row["confirm_sensitivity"] is None and lost(row) <= ALLOWED[each.source] + 1e-9
            if kept and (key not in best or row["relative_network_seconds"] < best[key]["relative_network_seconds"]):
                best[key] = row
    for (source, stream, name), row in best.items():
        costs = (f"{row[f'relative_{cost}']:.1%}" for cost in ("macs", "network_seconds"))
        yield cut(stream, name, f"{ALLOWED[source]:g}", row["plan"], sensitivities(row), f"{0 - lost(row):+.1f}", *costs)


def lost(row: dict[str, Any]) -> float:
    """Recall below individual testing's, in points, as the tables show it."""
    return round(100 * (row["individual_recall"]["value"] - row["recall"]["value"]), 1)


def between(text: str, marker: str, lines: Iterable[str]) -> str:
    """Not every set's every table is shown."""
    start, end = f"<!-- {marker} -->\n", "<!-- end -->"
    if start not in text:
        return text
    head, rest = text.split(start, 1)
    return head + start + "\n" + "\n".join(lines) + "\n\n" + end + rest.split(end, 1)[1]


def tables(measured: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    names = {line["folder"]: line["name"] for line in measured["bundles"]}
    rows = measured["rows"]
    yield "images", [said(measured)]
    yield "bundles", list(bundle_table(measured["bundles"]))
    yield "rows", list(row_table(rows, names))
    by_size = two_rounds(rows)
    yield "classes", list(class_table(by_size))
    yield "sources", list(source_table(by_size))


def said(measured: dict[str, Any]) -> str:
    count = measured["images"]
    return f"{count['positives']:,} positive and {count['negatives']:,} negative test images; {measured['machine']}."


def bundle_table(bundles: list[dict[str, Any]]) -> Iterator[str]:
    sizes = [m for m in ARITIES if any(entry["arity"] == m for line in bundles for entry in line["calibrated"])]
    confirmed = any(line.get("confirm") for line in bundles)
    yield head("bundle", "design", "MACs", "first stage", "ms alone", *(f"M = {m}" for m in sizes), *(["confirm"] if confirmed else []))
    for line in bundles:
        by_size = {entry["arity"]: entry for entry in line["calibrated"]}
        cells = [told(by_size.get(m)) for m in sizes]
        if confirmed:
            cells.append(told(next(iter(line.get("confirm") or []), None)))
        macs, ms = f"{line['macs_per_image'] / 1e6:.1f} M", f"{line['network_seconds_per_image'] * 1e3:.2f}"
        yield cut(line["name"], f"{line['design']}, {line['stages']} stages", macs, f"{line['first_stage_share_of_macs']:.0%}", ms, *cells)


def told(entry: dict[str, Any] | None) -> str:
    return f"{entry['auc']:.4f}, {entry['fp_at_98']:.1%}" if entry else "-"


def row_table(rows: list[dict[str, Any]], names: dict[str, str]) -> Iterator[str]:
    """Individual testing first, which no prevalence changes; then the plans at each."""
    yield head("bundle", "p", "plan", "sensitivity", "recall (95 %)", "against alone", "FPR", "over alone's", "tests", "MACs", "network s", "wall s")
    alone = {(row["bundle"], row["individual_sensitivity"]): row for row in rows if row["policy"] == "individual"}
    grouped = [row for row in rows if row["policy"] != "individual"]
    order = list(names)
    for row in sorted(alone.values(), key=lambda row: order.index(row["bundle"])):
        yield cut(names[row["bundle"]], "any", "individual", *measured_cells(row))
    for row in sorted(grouped, key=lambda row: (row["prevalence"], row["confirm_sensitivity"] is not None, order.index(row["bundle"]))):
        yield cut(names[row["bundle"]], f"{row['prevalence']:.1%}", row["plan"], *measured_cells(row))


def measured_cells(row: dict[str, Any]) -> list[str]:
    recall, alone = row["recall"], row["individual_recall"]
    fpr, false_alone = row["fpr"]["value"], row["individual_fpr"]["value"]
    return [
        sensitivities(row),
        f"{recall['value']:.1%} ({100 * recall['low']:.1f}-{100 * recall['high']:.1f})",
        f"{100 * (recall['value'] - alone['value']):+.1f}",
        f"{fpr:.2%}",
        f"{fpr / false_alone:.2f}" if false_alone else "-",
        f"{row['tests_per_image']:.3f}",
        *(f"{row[f'relative_{cost}']:.1%}" for cost in ("macs", "network_seconds", "wall_seconds")),
    ]


def sensitivities(row: dict[str, Any]) -> str:
    each = (row["pooled_sensitivity"], row["individual_sensitivity"], row["confirm_sensitivity"])
    return " / ".join(str(value) for value in each if value is not None)


def two_rounds(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first bundle's rows with two rounds at the rarest prevalence, one a size."""
    rarest = min(row["prevalence"] for row in rows)
    first = rows[0]["bundle"]
    wanted = {"prevalence": rarest, "policy": "two-round", "bundle": first, "confirm_sensitivity": None}
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def class_table(rows: list[dict[str, Any]]) -> Iterator[str]:
    if not rows:
        return
    yield head("class", "images", "alone", *(f"M = {row['group_size']}" for row in rows))
    for index, line in enumerate(rows[0]["by_class"]):
        kind = f"{line['class']} (found)" if line["positive"] else line["class"]
        yield cut(kind, str(line["images"]), share(line["individual"]), *(share(row["by_class"][index]["flagged"]) for row in rows))


def source_table(rows: list[dict[str, Any]]) -> Iterator[str]:
    if not rows:
        return
    yield head("source", "alone: recall", "FPR", *(f"M = {row['group_size']}: {what}" for row in rows for what in ("recall", "FPR")))
    for index, line in enumerate(rows[0]["by_source"]):
        cells = [share(row["by_source"][index][what]) for row in rows for what in ("recall", "fpr")]
        yield cut(line["source"] or "-", share(line["individual_recall"]), share(line["individual_fpr"]), *cells)


def share(rate: dict[str, Any]) -> str:
    return "-" if rate["value"] is None else f"{rate['value']:.1%}"


def head(*cells: str) -> str:
    return cut(*cells) + "\n|" + "---|" * len(cells)


def cut(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"
