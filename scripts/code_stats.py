#!/usr/bin/env python3
"""Prints the size of the Rust code: lines, functions and their lengths, public items, and tests.

Function lengths are counted from the line with `fn` to the closing brace, in code that rustfmt has
formatted. Functions of test modules and of tests/ count as test code.
"""

from __future__ import annotations

import argparse
import re
import statistics
from pathlib import Path
from typing import NamedTuple

FUNCTION = re.compile(r"^\s*(pub(\([a-z() ]+\))? )?(const )?(async )?fn \w+")
PUBLIC = re.compile(r"^\s*pub (const fn|async fn|fn|struct|enum|trait|type|const|static|mod|use)\b")
FIELD = re.compile(r"^\s+pub \w+: ")
TEST = re.compile(r"^\s*#\[(tokio::)?test\b")
PARAMETRIC_TESTS = re.compile(r"on_both_brokers!\[(.*?)\]", re.DOTALL)


class Code(NamedTuple):
    """The counts of some files."""

    lines: int
    lengths: list[int]
    public_items: int
    public_fields: int
    tests: int


def split(text: str) -> tuple[list[str], list[str]]:
    """The lines of a file before and in its test module, which is always last."""
    lines = text.splitlines()
    starts = [i for i, line in enumerate(lines[:-1]) if line == "#[cfg(test)]"]
    inline = [i for i in starts if lines[i + 1].startswith("mod ") and lines[i + 1].endswith("{")]
    at = inline[0] if inline else len(lines)
    return lines[:at], lines[at:]


def lengths(lines: list[str]) -> list[int]:
    """The number of lines of each function."""
    found = []
    for start, line in enumerate(lines):
        if not FUNCTION.match(line):
            continue
        indent = len(line) - len(line.lstrip())
        for length, later in enumerate(lines[start:], start=1):
            one_line = length == 1 and later.rstrip().endswith("}")
            without_body = later.rstrip().endswith(";") and len(later) - len(later.lstrip()) <= indent
            if one_line or later == " " * indent + "}":
                found.append(length)
                break
            if without_body:
                break
    return found


def count(lines: list[str]) -> Code:
    """The counts of some lines."""
    text = "\n".join(lines)
    parametric = sum(2 * len([name for name in match.split(",") if name.strip()]) for match in PARAMETRIC_TESTS.findall(text))
    return Code(
        lines=len(lines),
        lengths=lengths(lines),
        public_items=sum(1 for line in lines if PUBLIC.match(line)),
        public_fields=sum(1 for line in lines if FIELD.match(line)),
        tests=sum(1 for line in lines if TEST.match(line)) + text.count("proptest! {") + parametric,
    )


def main() -> None:
    """Prints one line per folder of code, and one for all tests."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", nargs="?", type=Path, default=Path(__file__).parent.parent, help="the repository")
    root = parser.parse_args().root
    code: dict[str, list[str]] = {}
    tests: list[str] = []
    sources = [*sorted(root.glob("src/**/*.rs")), *sorted(root.glob("crates/*/src/**/*.rs"))]
    for file in sources:
        product, test = split(file.read_text())
        name = file.relative_to(root).parts
        folder = "/".join(name[:2]) if name[0] == "crates" else "src"
        is_test = file.stem in {"tests", "harness"}
        code.setdefault(folder, []).extend([] if is_test else product)
        tests.extend(product if is_test else [])
        tests.extend(test)
    for file in [*sorted(root.glob("tests/**/*.rs")), *sorted(root.glob("crates/*/tests/**/*.rs"))]:
        tests.extend(file.read_text().splitlines())
    print(f"{'code':<14} {'lines':>6} {'functions':>9} {'median':>6} {'p90':>4} {'longest':>7} {'pub items':>9} {'pub fields':>10}")
    every: list[str] = []
    for folder, lines in code.items():
        every.extend(lines)
        show(folder, count(lines))
    if len(code) > 1:
        show("all", count(every))
    tested = count(tests)
    print(f"tests: {tested.lines} lines, {tested.tests} tests")


def show(name: str, code: Code) -> None:
    """Prints one line."""
    deciles = statistics.quantiles(code.lengths, n=10)
    median = statistics.median(code.lengths)
    print(
        f"{name:<14} {code.lines:>6} {len(code.lengths):>9} {median:>6.0f} {deciles[8]:>4.0f} {max(code.lengths):>7} "
        f"{code.public_items:>9} {code.public_fields:>10}"
    )


if __name__ == "__main__":
    main()
