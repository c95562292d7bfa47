"""Checks the committed examples and the shipped bundles against the committed JSON Schemas.

tests/cli.rs checks that the schemas match the code. This script uses an independent validator.
"""

import json
import sys
from pathlib import Path

import jsonschema
import yaml

ROOT = Path(__file__).resolve().parent.parent


def schema(name: str) -> jsonschema.protocols.Validator:
    content = json.loads((ROOT / "config" / f"{name}.schema.json").read_text())
    validator = jsonschema.validators.validator_for(content)
    validator.check_schema(content)
    return validator(content)


def main() -> int:
    config, bundle = schema("dorfman"), schema("bundle")
    for name in ["profile", "reference", "flag", "verdict", "dead-letter"]:
        schema(name)
    checked = [(config, path, yaml.safe_load(path.read_text())) for path in sorted((ROOT / "config").glob("*.yaml"))] + [
        (bundle, path, json.loads(path.read_text())) for path in sorted((ROOT / "models").glob("*/bundle.json"))
    ]
    errors = [f"{path.relative_to(ROOT)}: {error.message}" for v, path, it in checked for error in v.iter_errors(it)]
    # A validator that accepts every file would pass all of the above.
    if config.is_valid({"group": {"sise": 16}}) or bundle.is_valid({}):
        errors.append("the schemas accept a file that they must refuse")
    for error in errors:
        print(error, file=sys.stderr)
    print(f"schemas: {len(checked)} files checked, {len(errors)} errors")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
