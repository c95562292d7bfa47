"""Generates two files from charts/dorfman/values.yaml: its JSON Schema, and the table of values in
the chart's README.

generate_chart.py            writes both files
generate_chart.py --check    fails if a file differs from what would be written

The comment above a key is its description. A line `# @schema {…}` in the comment is JSON Schema,
written as YAML. It is added to the type that follows from the key's default. The schema of `config`
is the worker's own: config/dorfman.schema.json.
"""

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "charts" / "dorfman"
BEGIN, END = "<!-- values, made by scripts/generate.sh -->", "<!-- end of values -->"
TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}


@dataclass
class Key:
    """A key of values.yaml, with the comment above the key."""

    path: tuple[str, ...]
    text: str
    schema: dict[str, Any]
    default: Any
    below: "list[Key]" = field(default_factory=list)

    @property
    def leaf(self) -> bool:
        """Whether the table shows the key in one row: values.yaml has no keys below it, or another
        schema describes the keys below it.
        """
        return not self.below or "$ref" in self.schema or self.schema.get("additionalProperties") is not None


def main() -> int:
    keys = parse((CHART / "values.yaml").read_text())
    made = {
        CHART / "values.schema.json": json.dumps(schema(keys), indent=2, ensure_ascii=False) + "\n",
        CHART / "README.md": readme((CHART / "README.md").read_text(), keys),
    }
    stale = [path for path, content in made.items() if not path.exists() or path.read_text() != content]
    if "--check" in sys.argv[1:]:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is out of date: run scripts/generate.sh", file=sys.stderr)
        return 1 if stale else 0
    for path in stale:
        path.write_text(made[path])
    print("written: charts/dorfman/values.schema.json, charts/dorfman/README.md")
    return 0


def parse(text: str) -> list[Key]:
    """The keys of values.yaml as a tree. Reads line by line, because a YAML parser drops comments."""
    values = yaml.safe_load(text)
    top: list[Key] = []
    stack: list[tuple[int, Key]] = []
    comment: list[str] = []
    items: int | None = None  # indentation of the list whose items are being skipped
    for line in text.splitlines():
        if found := re.match(r" *# ?(.*)", line):
            comment.append(found[1])
            continue
        indent = len(line) - len(line.lstrip())
        if items is not None and line and indent <= items and not line.lstrip().startswith("- "):
            items = None
        if items is None and line.lstrip().startswith("- "):
            items = indent
        if items is None and (found := re.match(r" *([A-Za-z_]+):", line)):
            while stack and stack[-1][0] >= indent:
                stack.pop()
            path = (*(stack[-1][1].path if stack else ()), found[1])
            key = Key(path, *described(comment, path), default=at(values, path))
            (stack[-1][1].below if stack else top).append(key)
            stack.append((indent, key))
        comment = []
    return top


def described(comment: list[str], path: tuple[str, ...]) -> tuple[str, dict[str, Any]]:
    text = " ".join(line for line in comment if not line.startswith("@schema"))
    schema: dict[str, Any] = {}
    for line in comment:
        if line.startswith("@schema"):
            part = yaml.safe_load(line.removeprefix("@schema"))
            if not isinstance(part, dict):
                sys.exit(f"values.yaml: {'.'.join(path)}: @schema must be a mapping in braces")
            schema |= part
    return text, schema


def at(values: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        if not isinstance(values, dict) or name not in values:
            sys.exit(f"values.yaml: {'.'.join(path)} does not match its indentation; write each nested mapping on its own lines")
        values = values[name]
    return values


def schema(keys: list[Key]) -> dict[str, Any]:
    worker = json.loads((ROOT / "config" / "dorfman.schema.json").read_text())
    # Draft 7, which every Helm version supports, calls them `definitions`.
    definitions = worker.pop("$defs")
    worker.pop("$schema")
    definitions = json.loads(json.dumps({"Worker": worker, **definitions}).replace("#/$defs/", "#/definitions/"))
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of the chart dorfman",
        "type": "object",
        "additionalProperties": False,
        # Helm adds `global` when another chart includes this one.
        "properties": {"global": {"type": "object"}, **{key.path[-1]: of(key) for key in keys}},
        "definitions": definitions,
    }


def of(key: Key) -> dict[str, Any]:
    made: dict[str, Any] = {"description": key.text} if key.text else {}
    if "$ref" in key.schema:
        # Draft 7 ignores every keyword beside a `$ref`.
        return {**made, "allOf": [key.schema]}
    if "type" not in key.schema and "enum" not in key.schema:
        if key.default is None:
            sys.exit(f"values.yaml: {'.'.join(key.path)} is null: add @schema {{type: …}}")
        made["type"] = TYPES[type(key.default)]
    if key.below and key.schema.get("additionalProperties") is None:
        made["additionalProperties"] = False
        made["properties"] = {below.path[-1]: of(below) for below in key.below}
    return made | key.schema


def readme(text: str, keys: list[Key]) -> str:
    head, begin, rest = text.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        sys.exit(f"README.md must have the lines {BEGIN} and {END}")
    rows = ["| value | default | |", "|---|---|---|"]
    rows += [f"| `{'.'.join(key.path)}` | {shown(key)} | {cell(key.text)} |" for key in listed(keys)]
    return head + BEGIN + "\n" + "\n".join(rows) + "\n" + END + tail


def listed(keys: list[Key]) -> Iterator[Key]:
    """The rows of the table: leaves, and mappings that have a description."""
    for key in keys:
        if key.leaf or key.text:
            yield key
        if not key.leaf:
            yield from listed(key.below)


def shown(key: Key) -> str:
    if not key.leaf:
        return ""
    if "$ref" in key.schema:
        return "see `values.yaml`"
    return f"`{json.dumps(key.default, ensure_ascii=False)}`"


def cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())
