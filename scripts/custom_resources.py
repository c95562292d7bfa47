"""Validates objects of prometheus-operator and KEDA against their CustomResourceDefinitions.

`scripts/setup.sh crds` fetches the definitions.
"""

from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml

DEFINITIONS = Path(__file__).resolve().parent.parent / ".dorfman" / "crds"


def is_custom(thing: dict[str, Any]) -> bool:
    """Whether the object is a custom resource. Kubernetes' own groups have no dot, or end in k8s.io."""
    group = thing["apiVersion"].rpartition("/")[0]
    return "." in group and not group.endswith(".k8s.io")


def errors(thing: dict[str, Any]) -> list[str]:
    """The errors of an object, one line each."""
    name = f"{thing['kind']} {thing['metadata']['name']}"
    schema = schemas().get((thing["apiVersion"], thing["kind"]))
    if schema is None:
        return [f"{name}: there is no definition of {thing['apiVersion']} in {DEFINITIONS.name}"]
    found = jsonschema.Draft7Validator(schema).iter_errors(thing)
    return [f"{name}: {'.'.join(map(str, e.absolute_path))}: {e.message}" for e in found]


@cache
def schemas() -> dict[tuple[str, str], dict[str, Any]]:
    made = {}
    for file in DEFINITIONS.glob("*.yaml"):
        spec = yaml.safe_load(file.read_text())["spec"]
        for version in spec["versions"]:
            key = f"{spec['group']}/{version['name']}", spec["names"]["kind"]
            made[key] = closed(version["schema"]["openAPIV3Schema"])
    return made


def closed(schema: Any) -> Any:
    """The schema, changed to refuse unknown fields, as the API server does."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: closed(part) for key, part in schema.items()}
    if isinstance(schema.get("properties"), dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        made.setdefault("additionalProperties", False)
    return made
