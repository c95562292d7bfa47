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
import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from results_sets import ARITIES, SETS, Run, Set
from results_tables import page, two_rounds

ROOT = Path(__file__).resolve().parent.parent
PAGE, MEASURED = ROOT / "docs" / "results.md", ROOT / "docs" / "results"


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
    wanted = page(found, measurements())
    if arguments.check and wanted != found:
        sys.exit("docs/results.md does not hold what docs/results/*.json say: run scripts/results.py --tables")
    if not arguments.check:
        PAGE.write_text(wanted)
        print(f"wrote {PAGE.relative_to(ROOT)}")


def measurements() -> dict[Set, dict[str, Any]]:
    """What there is of every set."""
    paths = {each: MEASURED / f"{each.name}.json" for each in SETS}
    return {each: json.loads(path.read_text()) for each, path in paths.items() if path.exists()}


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
    """The set's images, as `dorfman evaluate --data` takes them."""
    if wanted.source == "clothing" and folder and not wanted.negatives:
        return str(folder / f"{wanted.split}.zip")
    out = Path("target") / "results" / wanted.name
    training("images", wanted.runs[0].bundles[0], folder, "--split", wanted.split, "--out", str(out))
    return str(chosen(wanted, out) if wanted.negatives else out / "list.csv")


def chosen(wanted: Set, out: Path) -> Path:
    """A list with the negatives of some classes alone."""
    kinds = {*wanted.positive.split(","), *wanted.negatives}
    with open(ROOT / out / "list.csv", newline="") as every, open(ROOT / out / "chosen.csv", "w", newline="") as few:
        rows = csv.DictReader(every)
        kept = csv.DictWriter(few, rows.fieldnames or ())
        kept.writeheader()
        kept.writerows(row for row in rows if row["class"] in kinds)
    return out / "chosen.csv"


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


if __name__ == "__main__":
    main()
