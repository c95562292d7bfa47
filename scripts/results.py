#!/usr/bin/env python3
"""Makes docs/results.md: what every design finds and costs on the test images of each set.

    scripts/results.py [--only SET] [--clothing DIR] [--firearms DIR]    train what is not trained, measure, write the tables
    scripts/results.py --tables                                          write the tables from the measurements as they are
    scripts/results.py --check                                           fail if the tables are not those of the measurements

A measurement lies in docs/results/SET.json; the text around the tables is written by hand. Sets whose images are not part of this
repository are measured only where their folder is given. A run that was cut off trains nothing twice; `--only` names what is still to be
measured. Needs python3 alone; what trains is called as `$PYTHON -m dorfman_training`, in the environment that `make results` sets.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterable, Iterator

ROOT = Path(__file__).resolve().parent.parent
PAGE, MEASURED = ROOT / "docs" / "results.md", ROOT / "docs" / "results"
ARITIES = (1, 2, 4, 8, 16, 32)


@dataclass(frozen=True)
class Run:
    """Cases of one `dorfman evaluate`."""

    bundles: tuple[str, ...]  # configurations in training/configs
    sizes: tuple[int, ...]
    policies: tuple[str, ...] = ("two-round", "multi-round")
    chain: str = "4"
    pooled: str = "0.99"
    individual: str = "0.99"
    confirm: str | None = None  # the confirm network's sensitivity; none: it is not asked
    worth: str = "500"  # of a positive, for the planned policy
    cap: int = 16384  # images of a stratum


@dataclass(frozen=True)
class Set:
    name: str
    positive: str
    source: str  # fashion, clothing or firearms
    runs: tuple[Run, ...]
    split: str = "test"  # whose images
    picture: bool = False  # of the first run, for the page


FASHION = ("fashion-bag", "fashion-bag-early", "fashion-bag-tree", "fashion-bag-tree3", "fashion-bag-pixel")
SETS = (
    Set(
        "fashion-bag", "bag", "fashion",
        (
            Run(FASHION, (4, 16)),
            Run(("fashion-bag",), (8, 32), cap=32768),
        ),
        picture=True,
    ),
    # Sensitivities and worth were chosen on the calibration images.
    Set(
        "fashion-bag-plans", "bag", "fashion",
        (
            Run(("fashion-bag",), (16,), ("multi-round", "planned"), chain="8,4,2", worth="60000"),
            Run(("fashion-bag",), (16,), ("multi-round",), chain="8,4,2", individual="0.995", confirm="0.995"),
            Run(("fashion-bag",), (32,), ("multi-round",), chain="16,8,4,2", individual="0.995", confirm="0.995", cap=32768),
        ),
    ),
    # What docs/planning.md holds its expectations against.
    Set("planning", "bag", "fashion", (Run(("fashion-bag",), (4, 16, 32)),), split="calibration"),
    # Sensitivities were chosen on the calibration images.
    Set(
        "fashion-boot", "ankle-boot", "fashion",
        (
            Run(("fashion-boot",), (4, 16)),
            Run(("fashion-boot",), (16,), ("multi-round",), pooled="0.985"),
            Run(("fashion-boot",), (16,), ("multi-round",), chain="8,4,2", pooled="0.99,0.9925"),
            Run(("fashion-boot",), (32,), ("multi-round",), chain="16,8,4,2", pooled="0.99,0.9925", cap=32768),
            Run(("fashion-boot",), (16,), ("multi-round",), chain="8,4,2", pooled="0.9925", individual="0.995", confirm="0.995"),
        ),
    ),
    Set(
        "shoes-tree", "shoes", "clothing",
        (Run(("shoes-lite0-tree",), (4, 8), chain="2", cap=2048), Run(("shoes-lite0-tree",), (2,), ("two-round",), cap=2048)),
    ),
    Set("shoes", "shoes", "clothing", (Run(("shoes-lite0",), (2, 4), ("two-round",), cap=2048),)),
    # Pooled sensitivities were chosen on the calibration images.
    Set(
        "shoes-wide", "shoes", "clothing",
        (
            Run(("shoes-lite0-wide", "shoes-lite0-wide3"), (2,), ("two-round",), pooled="0.98", cap=2048),
            Run(("shoes-lite0-wide", "shoes-lite0-wide3"), (3,), ("two-round",), pooled="0.98", cap=2048),
            Run(("shoes-lite0-wide", "shoes-lite0-wide3"), (4,), ("multi-round",), chain="2", pooled="0.98", cap=2048),
        ),
    ),
    Set(
        "shoes-coarse", "shoes", "clothing",
        (
            Run(("shoes-coarse1", "shoes"), (2, 3), ("two-round",), pooled="0.98", cap=2048),
            Run(("shoes-coarse1", "shoes"), (4,), ("multi-round",), chain="2", pooled="0.98", cap=2048),
            Run(("shoes-coarse1", "shoes"), (8,), ("multi-round",), chain="4,2", pooled="0.98", cap=2048),
        ),
    ),
    Set(
        "hats", "hat", "clothing",
        (
            Run(("hats-lite0", "hats"), (2,), ("two-round",), cap=2048),
            Run(("hats",), (2,), ("two-round",), pooled="0.95,0.98", cap=2048),
            Run(("hats",), (3,), ("two-round",), pooled="0.95,0.98", cap=2048),
            Run(("hats",), (4,), ("multi-round",), chain="2", pooled="0.95,0.98,0.99", cap=2048),
        ),
    ),
    Set("firearms", "handgun,long_gun,firearm", "firearms", (Run(("firearms-lite0",), (2, 4), ("two-round",)),)),
    Set(
        "firearms-wide", "handgun,long_gun,firearm", "firearms",
        (
            Run(("firearms-lite0-wide",), (2, 3), ("two-round",)),
            Run(("firearms-lite0-wide",), (4,), ("multi-round",), chain="2"),
        ),
    ),
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=[each.name for each in SETS], help="measure this set alone; may be repeated")
    parser.add_argument("--clothing", type=Path, metavar="DIR", help="the folder of clothing-dataset-small's train.zip, calibration.zip and test.zip")
    parser.add_argument("--firearms", type=Path, metavar="DIR", help="the folder of the firearms' index.csv and tars")
    parser.add_argument("--repeat", default="4", metavar="SECONDS", help="what each timing rests on at least (default: %(default)s)")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--tables", action="store_true", help="measure nothing, write the tables")
    what.add_argument("--check", action="store_true", help="measure and write nothing, say whether the tables are right")
    arguments = parser.parse_args()
    if not (arguments.tables or arguments.check):
        measure_all(arguments)
    found = PAGE.read_text()
    wanted = page(found)
    if arguments.check and wanted != found:
        sys.exit("docs/results.md does not hold what docs/results/*.json say: run scripts/results.py --tables")
    if not arguments.check:
        PAGE.write_text(wanted)
        print(f"wrote {PAGE.relative_to(ROOT)}")


# Measuring.


def measure_all(arguments: argparse.Namespace) -> None:
    at = commit()
    folders = {"fashion": Path(), "clothing": arguments.clothing, "firearms": arguments.firearms}
    for each in SETS:
        if arguments.only and each.name not in arguments.only:
            continue
        folder = folders[each.source]
        if folder is None:
            print(f"{each.name}: left as it was measured, since --{each.source} is not given", flush=True)
            continue
        measure(each, folder.resolve() if folder.name else None, arguments.repeat, at)


def measure(wanted: Set, folder: Path | None, repeat: str, at: str) -> None:
    """`at` is the commit that is measured."""
    names = {name for run in wanted.runs for name in run.bundles}
    bundles = {name: made(name, folder) for name in sorted(names)}
    data = images(wanted, folder)
    reports = [evaluate(wanted, run, bundles, data, repeat, number) for number, run in enumerate(wanted.runs)]
    table = {
        "machine": machine(),
        "commit": at,
        "images": {key: reports[0]["data"][key] for key in ("images", "positives", "negatives")},
        "bundles": [about(name, bundles[name], reports) for name in bundles],
        "rows": slim([row for report in reports for row in report["rows"]]),
    }
    MEASURED.mkdir(exist_ok=True)
    (MEASURED / f"{wanted.name}.json").write_text(written(table))


def written(table: dict[str, Any]) -> str:
    """JSON with a line a bundle and a row, so that a change shows what it changed."""
    lists = {key: value for key, value in table.items() if isinstance(value, list)}
    lines = [f'"{key}": {json.dumps(value)}' for key, value in table.items() if key not in lists]
    lines += [f'"{key}": [\n' + ",\n".join(f"  {json.dumps(each)}" for each in value) + "\n]" for key, value in lists.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def training(command: str, config: str, folder: Path | None, *more: str) -> None:
    """Runs a command of the training package."""
    data = ["--data", str(folder)] if folder else []
    line = [os.environ.get("PYTHON", "python3"), "-m", "dorfman_training", command, f"training/configs/{config}.toml", *data, *more]
    print(" ".join(line), flush=True)
    subprocess.run(line, cwd=ROOT, check=True)


def made(name: str, folder: Path | None) -> str:
    """The bundle's folder, relative to the repository. One that does not ship is made from its configuration as it is now: a bundle of
    an older one would be measured under its name."""
    shipped = Path("models") / name
    if (ROOT / shipped / "bundle.json").exists():
        return str(shipped)
    training("make-bundle", name, folder)
    return str(Path("training") / "work" / name / "bundle")


def images(wanted: Set, folder: Path | None) -> str:
    """The test images, as `dorfman evaluate --data` takes them."""
    if wanted.source == "clothing" and folder:
        return str(folder / "test.zip")
    out = Path("target") / "results" / wanted.name
    training("images", wanted.runs[0].bundles[0], folder, "--split", wanted.split, "--out", str(out))
    return str(out / "list.csv")


def evaluate(wanted: Set, run: Run, bundles: dict[str, str], data: str, repeat: str, number: int) -> dict[str, Any]:
    out = Path("target") / "results" / f"{wanted.name}-{number}.json"
    (ROOT / out).parent.mkdir(parents=True, exist_ok=True)
    confirm = ["--confirm", "yes", "--confirm-sensitivity", run.confirm] if run.confirm else ["--confirm", "no"]
    picture = ["--picture", str(MEASURED.relative_to(ROOT) / f"{wanted.name}.svg")] if number == 0 and wanted.picture else []
    line = [
        "target/release/dorfman", "evaluate", *(word for name in run.bundles for word in ("--bundle", bundles[name])),
        "--data", data, "--positive", wanted.positive, "--prevalence", "0.001,0.01", "--by-class",
        "--policy", ",".join(run.policies), "--chain", run.chain, "--worth", run.worth, "--group-size", ",".join(map(str, run.sizes)),
        "--pooled-sensitivity", run.pooled, "--individual-sensitivity", run.individual, *confirm,
        "--cap", str(run.cap), "--repeat", repeat, "--json", str(out), *picture,
    ]  # fmt: skip
    MEASURED.mkdir(exist_ok=True)
    print(" ".join(line), flush=True)
    subprocess.run(line, cwd=ROOT, check=True)
    return json.loads((ROOT / out).read_text())


def commit() -> str:
    """What was measured: the repository's commit, marked if files differ from it. Measurements and the page change on the way."""
    line = ["git", "status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs"]
    changed = subprocess.run(line, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
    head = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
    return f"{head}, changed" if changed else head


def machine() -> str:
    """The processor, by its own name, and how many cores."""
    names = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return f"{names[0].strip() if names else 'unknown processor'}, {os.cpu_count()} cores"


def about(name: str, folder: str, reports: list[dict[str, Any]]) -> dict[str, Any]:
    """What a table says of a bundle: its cost, and what its calibration says of each size of group."""
    line = next(line for report in reports for line in report["bundles"] if line["bundle"] == folder)
    manifest = json.loads((ROOT / folder / "bundle.json").read_text())
    first = manifest["stages"][0]["macs"] if len(manifest["stages"]) > 1 else 0
    return {
        "name": name,
        "folder": folder,
        **{key: line[key] for key in ("version", "design", "stages", "macs_per_image", "network_seconds_per_image")},
        "first_stage_share_of_macs": first / line["macs_per_image"],
        "calibrated": [calibrated(entry) for entry in manifest["calibration"] if entry["arity"] in ARITIES],
        "confirm": [calibrated(entry) for entry in (manifest.get("confirm") or {}).get("calibration", [])],
    }


def calibrated(entry: dict[str, Any]) -> dict[str, Any]:
    points = {point["sensitivity"]: 1 - point["specificity"] for point in entry["operating_points"]}
    auc = area(entry["positive_scores"], entry["negative_scores"])
    return {"arity": entry["arity"], "auc": round(auc, 5), "fp_at_98": round(points[0.98], 5), "fp_at_99": round(points[0.99], 5)}


def area(positive: list[float], negative: list[float]) -> float:
    """The area under the curve of two lists of quantiles: a pair counts if the positive is above, half if equal. The first and the last
    quantile stand for half as many scores as the others."""
    hot, cold = halved_ends(len(positive)), halved_ends(len(negative))
    pairs = ((v * w, (p > n) + 0.5 * (p == n)) for p, v in zip(positive, hot) for n, w in zip(negative, cold))
    return sum(weight * above for weight, above in pairs) / (sum(hot) * sum(cold))


def halved_ends(count: int) -> list[float]:
    return [0.5, *[1.0] * (count - 2), 0.5]


KEPT = (
    "bundle", "design", "prevalence", "group_size", "policy", "plan", "prior", "worth", "pooled_sensitivity", "individual_sensitivity",
    "confirm_sensitivity", "recall", "fpr", "individual_recall", "individual_fpr", "tests_per_image", "relative_macs",
    "relative_network_seconds", "relative_wall_seconds",
)  # fmt: skip
DETAILS = ("by_class", "by_source")


def slim(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What tables are made from: of the rows that are told by class, the classes too."""
    detailed = two_rounds(rows)
    return [rounded({key: row[key] for key in (KEPT + DETAILS if row in detailed else KEPT)}) for row in rows]


def rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 5)
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    return [rounded(each) for each in value] if isinstance(value, list) else value


# Tables.


def page(text: str) -> str:
    """The page with every table between its markers made anew."""
    paths = {each: MEASURED / f"{each.name}.json" for each in SETS}
    found = {each: json.loads(path.read_text()) for each, path in paths.items() if path.exists()}
    for each, measured in found.items():
        for name, lines in tables(measured):
            text = between(text, f"{each.name}: {name}", lines)
    return between(text, "all: cheapest", list(cheapest_table(found)))


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
            key = (each.source, each.positive, names[row["bundle"]])
            kept = row["prevalence"] == rarest and row["confirm_sensitivity"] is None and lost(row) <= ALLOWED[each.source] + 1e-9
            if kept and (key not in best or row["relative_network_seconds"] < best[key]["relative_network_seconds"]):
                best[key] = row
    for (source, positive, name), row in best.items():
        costs = (f"{row[f'relative_{cost}']:.1%}" for cost in ("macs", "network_seconds"))
        what = positive if "," not in positive else "firearms"
        yield cut(what, name, f"{ALLOWED[source]:g}", row["plan"], sensitivities(row), f"{0 - lost(row):+.1f}", *costs)


def lost(row: dict[str, Any]) -> float:
    """Recall below individual testing's, in points, as the tables show it."""
    return round(100 * (row["individual_recall"]["value"] - row["recall"]["value"]), 1)


def between(text: str, marker: str, lines: Iterable[str]) -> str:
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


if __name__ == "__main__":
    main()
