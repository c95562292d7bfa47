#!/usr/bin/env python3
"""Measures what every design finds and costs on the test images of each set, and writes the tables.

    scripts/results.py [--only SET] [--clothing DIR] [--firearms DIR]    train missing bundles, measure, write the tables
    scripts/results.py --tables                                          write the tables from the existing measurements
    scripts/results.py --check                                           fail if a table differs from the measurements

The measurements of a set are in docs/results/SET.json and its tables in docs/results/SET.md.
docs/results.md has two summary tables and docs/pooling.md two more, with pictures. The rest of these
pages is written by hand.

The images of some sets are not part of this repository. Such a set is measured only if the option
with its folder is given. After an interruption, bundles that are already trained are not trained
again; name the sets that are still to be measured with `--only`.

The script needs only python3. It trains with `$PYTHON -m dorfman_training`, in the environment that
`make results` sets.
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

import results_paper
import results_pooling as pooling

from results_sets import ARITIES, SETS, Run, Set
from results_tables import GENERATED, findings, placed, planned, set_page, two_rounds

ROOT = Path(__file__).resolve().parent.parent
PAGE, POOLING, MEASURED = ROOT / "docs" / "results.md", ROOT / "docs" / "pooling.md", ROOT / "docs" / "results"
DORFMAN = "target/release/dorfman"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", action="append", choices=[*(each.name for each in SETS), results_paper.NAME], help="measure only this set; may be repeated"
    )
    parser.add_argument("--clothing", type=Path, metavar="DIR", help="folder with train.zip, calibration.zip and test.zip of clothing-dataset-small")
    parser.add_argument("--firearms", type=Path, metavar="DIR", help="folder with index.csv and the tar files of the firearms photos")
    parser.add_argument("--paper", type=Path, metavar="DIR", help="folder with the recorded scores of the paper, for docs/pooling.md")
    parser.add_argument("--repeat", default="4", metavar="SECONDS", help="minimum network seconds behind each timing (default: %(default)s)")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--tables", action="store_true", help="measure nothing; write the tables from the existing measurements")
    what.add_argument("--check", action="store_true", help="measure and write nothing; fail if a table differs from the measurements")
    arguments = parser.parse_args()
    if not (arguments.tables or arguments.check):
        measure_all(arguments)
    wanted = pages()
    if arguments.check:
        check(wanted)
        return
    for path, text in wanted.items():
        path.write_text(text)
    print(f"wrote {PAGE.relative_to(ROOT)} and {len(wanted) - 1} files in {MEASURED.relative_to(ROOT)}/")


def pages() -> dict[Path, str]:
    """The text of every page with generated tables."""
    found = measurements()
    tables = {MEASURED / f"{each.name}.md": set_page(each, measured) for each, measured in found.items()}
    return {PAGE: findings(PAGE.read_text(), found), **pooling_pages(found), **tables}


def pooling_pages(found: dict[Set, dict[str, Any]]) -> dict[Path, str]:
    """The page docs/pooling.md with its generated tables, and its pictures."""
    paper = json.loads((MEASURED / f"{results_paper.NAME}.json").read_text())
    tables = {pooling.POOLING: pooling.table(found), results_paper.NAME: results_paper.table(paper)}
    text = POOLING.read_text()
    for name, table in tables.items():
        text = placed(text, f"{GENERATED}: {name} -->\n", table, POOLING.name)
    pictures = {pooling.POOLING: pooling.picture(found), results_paper.NAME: results_paper.picture(paper)}
    return {POOLING: text, **{MEASURED / f"{name}.svg": picture for name, picture in pictures.items()}}


def check(wanted: dict[Path, str]) -> None:
    """Exits if a page differs from the measurements, or if a generated page has no measurements."""
    different = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    left_over = [path for path in sorted(MEASURED.glob("*.md")) if path not in wanted and path.read_text().startswith(GENERATED)]
    problems = [f"{path.name} differs from the measurements in docs/results/: run scripts/results.py --tables" for path in different]
    problems += [f"docs/results/{path.name} has no measurements {path.stem}.json of a set in results_sets.py: delete it" for path in left_over]
    if problems:
        sys.exit("\n".join(problems))


def measurements() -> dict[Set, dict[str, Any]]:
    """The measurements of every set that was measured."""
    paths = {each: MEASURED / f"{each.name}.json" for each in SETS}
    return {each: json.loads(path.read_text()) for each, path in paths.items() if path.exists()}


def measure_all(arguments: argparse.Namespace) -> None:
    at = commit()
    if results_paper.NAME in (arguments.only or [results_paper.NAME]):
        measure_paper(arguments.paper)
    folders = {"fashion": Path(), "clothing": arguments.clothing, "firearms": arguments.firearms}
    for each in SETS:
        if arguments.only and each.name not in arguments.only:
            continue
        folder = folders[each.source]
        if folder is None:
            print(f"{each.name}: not measured again; give --{each.source} DIR to measure it", flush=True)
            continue
        measure(each, folder.resolve() if folder.name else None, arguments.repeat, at)


def measure_paper(folder: Path | None) -> None:
    if folder is None:
        print(f"{results_paper.NAME}: not measured again; give --paper DIR to measure it", flush=True)
        return
    found = results_paper.measure(folder, str(ROOT / DORFMAN))
    (MEASURED / f"{results_paper.NAME}.json").write_text(json.dumps(found, indent=1) + "\n")


def measure(wanted: Set, folder: Path | None, repeat: str, at: str) -> None:
    """Measures one set and writes its measurements. `at` is the measured commit."""
    names = {name for run in wanted.runs for name in run.bundles}
    bundles = cut(wanted, folder) if wanted.verdicts else {name: made(name, folder) for name in sorted(names)}
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
    """JSON with one line per bundle and per row, so that a diff shows the changed ones."""
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
    """The bundle's folder, relative to the repository. A bundle that does not ship is made from its
    present configuration first. Without this step, a bundle of an older configuration would be
    measured under the same name."""
    shipped = Path("models") / name
    if (ROOT / shipped / "bundle.json").exists():
        return str(shipped)
    training("make-bundle", name, folder)
    return str(Path("training") / "work" / name / "bundle")


def cut(wanted: Set, folder: Path | None) -> dict[str, str]:
    """Cuts a network that was not made here. Its folder also gets the test images with its verdicts."""
    name, out = wanted.runs[0].bundles[0], Path("target") / "results" / wanted.name
    data = ["--data", str(folder)] if folder else []
    line = [os.environ.get("PYTHON", "python3"), "-m", "dorfman_training.imagenet", f"training/configs/{wanted.config}.toml"]
    line += ["--label", wanted.verdicts, "--out", str(out), *data]
    print(" ".join(line), flush=True)
    subprocess.run(line, cwd=ROOT, check=True)
    return {name: str(out / "bundle")}


def images(wanted: Set, folder: Path | None) -> str:
    """The set's images in a form that `dorfman evaluate --data` reads."""
    if wanted.verdicts:
        return str(Path("target") / "results" / wanted.name / "test" / "list.csv")
    if wanted.source == "clothing" and folder and not wanted.negatives:
        return str(folder / f"{wanted.split}.zip")
    out = Path("target") / "results" / wanted.name
    training("images", wanted.runs[0].bundles[0], folder, "--split", wanted.split, "--out", str(out))
    return str(chosen(wanted, out) if wanted.negatives else out / "list.csv")


def chosen(wanted: Set, out: Path) -> Path:
    """A list of the images with only the negatives of the wanted classes."""
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
    loss = ["--recall-loss", run.loss] if run.loss else []
    plans = ["--plan", "best", *loss] if not run.sizes else [
        "--policy", ",".join(run.policies), "--chain", run.chain, "--worth", run.worth, "--group-size", ",".join(map(str, run.sizes)),
        "--pooled-sensitivity", run.pooled,
    ]  # fmt: skip
    line = [
        DORFMAN, "evaluate", *(word for name in run.bundles for word in ("--bundle", bundles[name])),
        "--data", data, "--positive", wanted.positive, "--prevalence", "0.001,0.01", "--by-class",
        *plans, "--individual-sensitivity", run.individual, *confirm,
        "--cap", str(run.cap), "--repeat", repeat, "--json", str(out), *picture,
    ]  # fmt: skip
    MEASURED.mkdir(exist_ok=True)
    print(" ".join(line), flush=True)
    subprocess.run(line, cwd=ROOT, check=True)
    return json.loads((ROOT / out).read_text())


def commit() -> str:
    """The repository's commit, marked as changed if files differ from it. Changes in docs/ do not
    count, because the measurements and the pages are written there."""
    line = ["git", "status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs"]
    changed = subprocess.run(line, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
    head = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
    return f"{head}, changed" if changed else head


def machine() -> str:
    """The processor's name and the number of cores."""
    names = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return f"{names[0].strip() if names else 'unknown processor'}, {os.cpu_count()} cores"


def about(name: str, folder: str, reports: list[dict[str, Any]]) -> dict[str, Any]:
    """What the tables show of a bundle: its cost, and its calibration at each group size."""
    line = next(line for report in reports for line in report["bundles"] if line["bundle"] == folder)
    manifest = json.loads((ROOT / folder / "bundle.json").read_text())
    stages = manifest["stages"]
    first = sum(each["macs"] for each in stages[:-1] if each is stages[0] or each.get("fan_in") == 1)
    return {
        "name": name,
        "folder": folder,
        **{key: line[key] for key in ("version", "design", "stages", "macs_per_image", "network_seconds_per_image")},
        "first_stage_share_of_macs": first / line["macs_per_image"],
        "pooling": rounded(estimates(folder)),
        "calibrated": [calibrated(entry) for entry in manifest["calibration"] if entry["arity"] in ARITIES and "exit_sensitivity" not in entry],
        "confirm": [calibrated(entry) for entry in (manifest.get("confirm") or {}).get("calibration", [])],
    }


def estimates(folder: str) -> list[dict[str, Any]]:
    """What `pooling` of the training package prints for the bundle."""
    line = [os.environ.get("PYTHON", sys.executable), "-m", "dorfman_training", "pooling", folder, "--json"]
    return json.loads(subprocess.run(line, cwd=ROOT, check=True, capture_output=True, text=True).stdout)


def calibrated(entry: dict[str, Any]) -> dict[str, Any]:
    points = {point["sensitivity"]: 1 - point["specificity"] for point in entry["operating_points"]}
    auc = area(entry["positive_scores"], entry["negative_scores"])
    return {"arity": entry["arity"], "auc": round(auc, 5), "fp_at_98": round(points[0.98], 5), "fp_at_99": round(points[0.99], 5)}


def area(positive: list[float], negative: list[float]) -> float:
    """The area under the ROC curve of two lists of quantiles. A pair counts fully if the positive
    score is above the negative one, and half if they are equal. The first and the last quantile of a
    list represent half as many scores as the others."""
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
PLANNED = ("plan_kind", "roles", "expected_relative_macs", "expected_recall")  # columns of the planner's plans
DETAILS = ("by_class", "by_source")


def slim(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The columns that the tables need. Rows with a table by class keep the classes and sources."""
    detailed = two_rounds(rows)
    kept = [KEPT + (DETAILS if row in detailed else ()) + (PLANNED if planned(row) else ()) for row in rows]
    return [rounded({key: row[key] for key in keys}) for row, keys in zip(rows, kept)]


def rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 5)
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    return [rounded(each) for each in value] if isinstance(value, list) else value


if __name__ == "__main__":
    main()
