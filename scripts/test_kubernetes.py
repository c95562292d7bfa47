"""Installs the chart on a real Kubernetes control plane with simulated GPU nodes (scripts/cluster),
and performs an operator's tasks on it.

The namespace enforces the restricted pod security standard. The test does not sleep: Helm and
kubectl watch, each with a deadline. Needs
`scripts/setup.sh helm crds kubernetes-validate kubernetes`; `make test-kubernetes` runs it. With
`--keep` a failed step leaves the cluster running for inspection, until Ctrl-C.
"""

import json
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts" / "cluster"))

from cluster import GPU, Cluster  # noqa: E402

CHART = ROOT / "charts" / "dorfman"
CRDS = ROOT / ".dorfman" / "crds"
HELM = ROOT / ".dorfman" / "bin" / "helm"
NAMESPACE, RELEASE = "images", "moderation"
WORKERS = "app.kubernetes.io/name=dorfman"
# The longest time in seconds that a rollout may take on a busy machine.
PATIENCE = 300
# One GPU per worker, and every object that the chart can create.
VALUES = """
replicaCount: 6
topicPartitions: 12
fullnameOverride: moderation
gpu: {count: 1, runtimeClassName: nvidia}
config:
  kafka: {brokers: "kafka:9093", properties: {security.protocol: sasl_ssl, sasl.mechanism: SCRAM-SHA-512}}
  model: {provider: cuda, bundle: /bundle/fashion-bag}
bundle: {image: {reference: "registry.example.com/bundles:2.1.0"}}
credentials: {sasl: {secret: kafka}, tls: {secret: kafka-tls}}
networkPolicy: {egress: {enabled: true}}
serviceMonitor: {enabled: true}
prometheusRule: {enabled: true}
dashboard: {enabled: true}
"""

Object = dict[str, Any]


class Failed(Exception):
    """A step failed; the message has the reason."""


def must(holds: bool, what: str) -> None:
    if not holds:
        raise Failed(what)


class Test:
    """The steps, in order. Each starts with the cluster as the previous step left it."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster = cluster
        self.values = folder / "values.yaml"
        self.values.write_text(VALUES)

    def steps(self) -> list[Callable[[], str]]:
        return [
            self.namespace_is_restricted, self.every_object_is_accepted, self.wrong_values_are_refused, self.installs,
            self.pods_are_on_gpu_nodes_and_spread, self.helm_test_reports_the_result, self.the_budget_is_honoured,
            self.an_upgrade_needs_no_spare_gpu, self.scales, self.rolls_back, self.becomes_static_members_scaled_by_keda,
            self.uninstalls,
        ]  # fmt: skip

    # Tools.

    def kubectl(self, *arguments: str, given: Any = None) -> str:
        return self.cluster.kubectl("--namespace", NAMESPACE, *arguments, given=given)

    def get(self, *what: str) -> Any:
        return json.loads(self.kubectl("get", "--output=json", "--show-managed-fields", *what))

    def items(self, *what: str) -> list[Object]:
        items: list[Object] = self.get(*what)["items"]
        return items

    def helm_command(self, *arguments: str) -> list[str]:
        return [str(HELM), f"--kubeconfig={self.cluster.kubeconfig}", f"--namespace={NAMESPACE}", *arguments]

    def helm_result(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.helm_command(*arguments), capture_output=True, text=True, check=False, timeout=2 * PATIENCE)

    def helm(self, *arguments: str) -> str:
        done = self.helm_result(*arguments)
        must(done.returncode == 0, f"helm {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def upgrade(self, *options: str) -> None:
        self.helm("upgrade", RELEASE, str(CHART), "--values", str(self.values), "--wait", f"--timeout={PATIENCE}s", *options)

    def pods(self) -> list[Object]:
        """Pods of workers that are not being deleted."""
        return [p for p in self.items("pods", "--selector", WORKERS) if "deletionTimestamp" not in p["metadata"]]

    def until_settled(self, workload: str = "deployment/moderation") -> None:
        self.kubectl("rollout", "status", workload, f"--timeout={PATIENCE}s")

    def config(self) -> Object:
        settings: Object = yaml.safe_load(self.get("configmap", "moderation")["data"]["dorfman.yaml"])
        return settings

    # The steps. Each returns a summary of what it observed.

    def namespace_is_restricted(self) -> str:
        for file in sorted(CRDS.glob("*.yaml")):
            self.cluster.kubectl("apply", "--server-side", "-f", str(file))
        self.cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
        standard = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
        self.cluster.kubectl("apply", "-f", "-", given=thing("v1", "Namespace", NAMESPACE, labels=standard))
        self.cluster.kubectl("apply", "-f", "-", given=thing("node.k8s.io/v1", "RuntimeClass", "nvidia", handler="nvidia"))
        self.kubectl("wait", "--for=create", "--timeout=60s", "serviceaccount/default")
        careless = {"containers": [{"name": "c", "image": "i"}]}
        why = refusal(lambda: self.kubectl("apply", "-f", "-", given=thing("v1", "Pod", "careless", spec=careless)))
        must('violates PodSecurity "restricted' in why, f"a pod that violates the security standard was not refused: {why}")
        version = json.loads(self.cluster.kubectl("version", "--output=json"))
        return f"Kubernetes {version['serverVersion']['gitVersion']}; a pod that violates the security standard is refused"

    def every_object_is_accepted(self) -> str:
        """Every object of every example passes the server's validation without a warning.

        Pods also pass the pod security standard.
        """
        priority = thing("scheduling.k8s.io/v1", "PriorityClass", "streaming", value=1)
        self.cluster.kubectl("apply", "-f", "-", given=priority)
        # The test's pod needs its service account, which a dry run does not create.
        account = f"serviceaccount/{RELEASE}-dorfman"
        self.kubectl("create", *account.split("/"))
        kinds: set[str] = set()
        examples = sorted((CHART / "ci").glob("*.yaml"))
        for file in [None, *examples]:
            rendered = self.rendered(*(["--values", str(file)] if file else []))
            why = self.trial(rendered)
            must(not why, f"{file.name if file else 'the default values'}: {why}")
            kinds |= {o["kind"] for o in yaml.safe_load_all(rendered) if o}
        # A dry run that accepts every object would pass the checks above.
        careless = self.trial(self.rendered("--set", "securityContext.allowPrivilegeEscalation=true"))
        must("allowPrivilegeEscalation != false" in careless, f"a worker that violates the security standard is not refused: {careless}")
        self.kubectl("delete", account)
        return f"{len(examples) + 1} sets of values: {', '.join(sorted(kinds))}"

    def rendered(self, *options: str) -> str:
        return self.helm("template", RELEASE, str(CHART), "--kube-version=1.34.0", *options)

    def trial(self, objects: str) -> str:
        """The server's errors for these objects in a dry run; empty if it accepts them."""
        strict = ["--server-side", "--dry-run=server", "--validate=strict", "--warnings-as-errors"]
        return refusal(lambda: self.kubectl("apply", *strict, "-f", "-", given=objects))

    def wrong_values_are_refused(self) -> str:
        seen = []
        for value, *words in [
            ("config.group.sise=8", "/config/group", "'sise' not allowed"),
            ("replicaCount=many", "/replicaCount", "want integer"),
            ("replicaCount=13", "replicaCount is 13", "12 partitions"),
        ]:
            done = self.helm_result("install", RELEASE, str(CHART), "--values", str(self.values), "--set", value)
            must(done.returncode != 0, f"helm installed with {value}")
            must(all(word in done.stderr for word in words), f"with {value} the message of Helm is: {done.stderr}")
            seen.append(value)
        must(not self.items("deployments,configmaps", "--selector", WORKERS), "a refused installation left objects behind")
        return ", ".join(seen)

    def installs(self) -> str:
        self.helm("install", RELEASE, str(CHART), "--values", str(self.values), "--wait", f"--timeout={PATIENCE}s")
        self.until_settled()
        manifest = self.helm("get", "manifest", RELEASE)
        made = json.loads(self.kubectl("get", "--output=json", "--show-managed-fields", "-f", "-", given=manifest))["items"]
        for one in made:
            managers = {m["manager"] for m in one["metadata"]["managedFields"]}
            must("helm" in managers, f"{one['kind']} {one['metadata']['name']} is managed by {managers}")
        must(self.get("pdb", "moderation")["status"]["disruptionsAllowed"] == 1, "the disruption budget does not match the workers")
        return f"{len(made)} objects: {', '.join(sorted(o['kind'] for o in made))}"

    def pods_are_on_gpu_nodes_and_spread(self) -> str:
        pods = self.pods()
        nodes = Counter(p["spec"]["nodeName"] for p in pods)
        must(nodes == {"gpu-0": 2, "gpu-1": 2, "gpu-2": 2}, f"the pods are on {dict(nodes)}")
        for pod in pods:
            (container,) = pod["spec"]["containers"]
            must(container["resources"]["limits"][GPU] == "1", "a pod has no GPU")
        return ", ".join(f"{node}: {count}" for node, count in sorted(nodes.items()))

    def helm_test_reports_the_result(self) -> str:
        """No container runs here, so this step writes the final status of the test's pod, as a kubelet would."""
        seen = []
        # Helm waits until its deadline for a failed test to recover.
        for phase, passes, deadline in [("Succeeded", True, PATIENCE), ("Failed", False, 20)]:
            command = self.helm_command("test", RELEASE, f"--timeout={deadline}s")
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as test:
                for condition in ("create", "condition=Ready"):
                    self.kubectl("wait", f"--for={condition}", f"--timeout={PATIENCE}s", "pod/moderation-test")
                end = json.dumps({"status": {"phase": phase}})
                self.kubectl("patch", "pod", "moderation-test", "--subresource=status", "--type=merge", "--patch", end)
                out, _ = test.communicate(timeout=PATIENCE)
            must((test.returncode == 0) == passes, f"the pod {phase}, but helm test ended with {test.returncode}: {out}")
            must(passes or "status: Failed" in out, f"the output of helm test does not have the reason: {out}")
            self.kubectl("delete", "pod", "moderation-test", "--wait")
            seen.append(f"{phase}: {test.returncode}")
        return ", ".join(seen)

    def the_budget_is_honoured(self) -> str:
        # Without a scheduler an evicted pod gets no node, and the budget stays used up.
        with self.cluster.paused("kube-scheduler"):
            first, second, *_ = (p["metadata"]["name"] for p in self.pods())
            self.evict(first)
            why = refusal(lambda: self.evict(second))
        must("disruption budget" in why, f"a second worker was evicted: {why or 'accepted'}")
        must(any(p["metadata"]["name"] == second for p in self.pods()), "the second worker is gone")
        self.until_settled()
        return why

    def evict(self, pod: str) -> None:
        eviction = thing("policy/v1", "Eviction", pod, namespace=NAMESPACE)
        self.kubectl("create", "--raw", f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}/eviction", "-f", "-", given=eviction)

    def an_upgrade_needs_no_spare_gpu(self) -> str:
        """With one worker on each of the twelve GPUs, a changed configuration replaces the workers one by one."""
        self.upgrade("--set", "replicaCount=12")
        self.until_settled()
        before = {p["metadata"]["uid"] for p in self.pods()}
        must(len(before) == 12, f"{len(before)} workers, not 12")
        columns = "custom-columns=E:.type,N:.object.metadata.name,S:.object.spec.replicas,A:.object.status.availableReplicas"
        watch = self.cluster.command("--namespace", NAMESPACE, "get", "replicasets", "--watch", "--output-watch-events", f"--output={columns}")
        with subprocess.Popen(watch, stdout=subprocess.PIPE, text=True) as watcher:
            self.upgrade("--set", "replicaCount=12", "--set", "config.group.size=8")
            self.until_settled()
            watcher.terminate()
            most, fewest = extremes(watcher.stdout.read() if watcher.stdout else "")
        pods = self.pods()
        must(before.isdisjoint(p["metadata"]["uid"] for p in pods), "a worker still has the old configuration")
        must(len(pods) == 12 and self.config()["group"]["size"] == 8, "the new configuration is not applied")
        must((most, fewest) == (12, 11), f"at most {most} workers were requested and at least {fewest} were available; 12 and 11 were expected")
        return f"all workers were replaced; at most {most} were requested, and at least {fewest} were available"

    def scales(self) -> str:
        self.upgrade("--set", "replicaCount=3", "--set", "config.group.size=8")
        self.until_settled()
        three = len(self.pods())
        # This is how KEDA's autoscaler scales.
        self.kubectl("scale", "deployment/moderation", "--replicas=9")
        self.until_settled()
        nine = len(self.pods())
        must((three, nine) == (3, 9), f"{three} and {nine} workers, not 3 and 9")
        return "12 > 3 by Helm, 3 > 9 by the scale subresource"

    def rolls_back(self) -> str:
        before = {p["metadata"]["uid"] for p in self.pods()}
        rollback = ["rollback", RELEASE, "1", "--wait", f"--timeout={PATIENCE}s"]
        # kubectl owns the number of workers since it scaled them (see the chart's README.md).
        why = self.helm_result(*rollback).stderr
        must("conflict" in why and ".spec.replicas" in why, f"Helm takes back the number of workers without --force-conflicts: {why}")
        self.helm(*rollback, "--force-conflicts")
        self.until_settled()
        pods = self.pods()
        must(self.config()["group"]["size"] == 16, "the configuration is not that of the first revision")
        must(len(pods) == 6 and before.isdisjoint(p["metadata"]["uid"] for p in pods), "the workers are not those of the first revision")
        return f"to revision 1: {len(pods)} workers, group.size 16"

    def becomes_static_members_scaled_by_keda(self) -> str:
        self.upgrade("--set", "kind=StatefulSet", "--set", "replicaCount=3")
        self.until_settled("statefulset/moderation")
        must(not self.items("deployments"), "the Deployment is still there")
        self.kubectl("wait", "--for=delete", "pod", "--selector", f"{WORKERS},pod-template-hash", f"--timeout={PATIENCE}s")
        names = sorted(p["metadata"]["name"] for p in self.pods())
        must(names == [f"moderation-{n}" for n in range(3)], f"the members are {names}")
        gone = self.get("pod", "moderation-1")["metadata"]["uid"]
        # `kubectl delete --wait` does not end if a new pod with the same name exists already.
        with self.cluster.paused("kube-controller-manager"):
            self.kubectl("delete", "pod", "moderation-1", "--wait")
        for condition in ("create", "condition=Ready"):
            self.kubectl("wait", f"--for={condition}", f"--timeout={PATIENCE}s", "pod/moderation-1")
        must(self.get("pod", "moderation-1")["metadata"]["uid"] != gone, "moderation-1 was not replaced")

        self.upgrade("--set", "kind=StatefulSet", "--set", "keda.enabled=true", "--set", "keda.minReplicas=2")
        scaled = self.get("scaledobject", "moderation")["spec"]
        must(scaled["maxReplicaCount"] == 12, "KEDA may start more workers than the topic has partitions")
        target = self.get(f"{scaled['scaleTargetRef']['kind'].lower()}/{scaled['scaleTargetRef']['name']}")
        owners = {m["manager"] for m in target["metadata"]["managedFields"] if "f:replicas" in m.get("fieldsV1", {}).get("f:spec", {})}
        must("helm" not in owners, f"Helm still owns the number of workers, with {owners}")
        must(target["spec"]["replicas"] == 1, f"{target['spec']['replicas']} workers are left to KEDA, not 1 as in README.md")
        authentication = self.get("triggerauthentication", scaled["triggers"][0]["authenticationRef"]["name"])
        must(not self.items("hpa"), "the chart created an autoscaler beside KEDA's")
        secrets = {s["name"] for s in authentication["spec"]["secretTargetRef"]}
        return f"members {', '.join(names)}; KEDA reads {', '.join(sorted(secrets))} and sets 2 to 12 workers"

    def uninstalls(self) -> str:
        self.helm("uninstall", RELEASE, "--wait", f"--timeout={PATIENCE}s")
        self.kubectl("wait", "--for=delete", "pod", "--selector", WORKERS, f"--timeout={PATIENCE}s")
        kinds = self.cluster.kubectl("api-resources", "--namespaced", "--verbs=list", "--output=name").split()
        left = self.items(",".join(kinds), "--selector", f"app.kubernetes.io/instance={RELEASE}")
        must(not left, f"left behind: {[(o['kind'], o['metadata']['name']) for o in left]}")
        return f"no object is left, in {len(kinds)} kinds of objects"


def thing(version: str, kind: str, name: str, /, namespace: str = "", labels: dict[str, str] | None = None, **rest: Any) -> Object:
    metadata: Object = {"name": name, "labels": labels or {}}
    return {"apiVersion": version, "kind": kind, "metadata": metadata | ({"namespace": namespace} if namespace else {}), **rest}


def refusal(action: Callable[[], object]) -> str:
    """The server's error for the action; empty if the server accepts it."""
    try:
        action()
    except subprocess.CalledProcessError as error:
        return str(error.stderr).strip()
    return ""


def extremes(events: str) -> tuple[int, int]:
    """The largest number of requested pods and the smallest number of available pods.

    `events` is the output of a watch of ReplicaSets: event, name, requested, available.
    """
    wanted: dict[str, int] = {}
    available: dict[str, int] = {}
    most, fewest = 0, sys.maxsize
    for line in events.splitlines():
        event, name, *numbers = line.split()
        if event in ("ADDED", "MODIFIED"):
            wanted[name], available[name] = (0 if n == "<none>" else int(n) for n in numbers)
            most, fewest = max(most, sum(wanted.values())), min(fewest, sum(available.values()))
    return most, fewest


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, Cluster() as cluster:
        print(f"test-kubernetes: the control plane is ready after {time.monotonic() - start:.0f} s", flush=True)
        test = Test(cluster, Path(folder))
        for step in test.steps():
            name = step.__name__.replace("_", " ")
            try:
                print(f"test-kubernetes: {name}: {step()}", flush=True)
            except (Failed, subprocess.SubprocessError) as error:
                why = getattr(error, "stderr", None) or error
                print(f"test-kubernetes: FAILED: {name}: {why}", file=sys.stderr, flush=True)
                if "--keep" in sys.argv[1:]:
                    print(f"export KUBECONFIG={cluster.kubeconfig}", flush=True)
                    signal.pause()
                return 1
        print(f"test-kubernetes: {len(test.steps())} steps passed in {time.monotonic() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
