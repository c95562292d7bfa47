"""Renders the chart for the tests, and finds objects in the result."""

import subprocess
import tempfile
import unittest
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "charts" / "dorfman"
HELM = ROOT / ".dorfman" / "bin" / "helm"
# Helm has no cluster here. Without a version it would assume a very old one.
KUBERNETES = "1.34.0"

# Any: a test that expects another structure fails when it reads the object.
Objects = list[Any]


class ChartTest(unittest.TestCase):
    """A test of the objects that the chart renders. Values are given as YAML."""

    maxDiff = None

    def render(self, values: str = "", kubernetes: str = KUBERNETES) -> Objects:
        code, out, err = template(values, kubernetes)
        self.assertEqual(code, 0, err)
        return [o for o in yaml.safe_load_all(out) if o]

    def refused(self, values: str, *words: str) -> None:
        """Checks that rendering with these values fails, with a message that contains these words."""
        code, _, err = template(values, KUBERNETES)
        self.assertNotEqual(code, 0, f"the chart accepted {values}")
        for word in words:
            self.assertIn(word, err)

    def one(self, kind: str, values: str = "", name: str | None = None) -> Any:
        found = [o for o in self.render(values) if o["kind"] == kind and name in (None, o["metadata"]["name"])]
        self.assertEqual(len(found), 1, f"{len(found)} objects of the kind {kind}")
        return found[0]

    def none(self, kind: str, values: str = "") -> None:
        self.assertNotIn(kind, kinds(self.render(values)))

    def pod(self, values: str = "") -> Any:
        """Returns the pod spec of the workers."""
        (found,) = (o for o in self.render(values) if o["kind"] in ("Deployment", "StatefulSet"))
        return found["spec"]["template"]["spec"]

    def worker(self, values: str = "") -> Any:
        """Returns the container of the worker."""
        (container,) = self.pod(values)["containers"]
        return container

    def config(self, values: str = "") -> Any:
        """Returns the configuration that the worker reads."""
        return yaml.safe_load(self.one("ConfigMap", values, "test-dorfman")["data"]["dorfman.yaml"])


def kinds(objects: Objects) -> list[str]:
    return [o["kind"] for o in objects]


@cache
def template(values: str, kubernetes: str) -> tuple[int, str, str]:
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(values)
        file.flush()
        command = [str(HELM), "template", "test", str(CHART), "--namespace=images", f"--values={file.name}", f"--kube-version={kubernetes}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr
