"""Checks of the chart and the compose file that a schema cannot express. Called by check-deploy.sh.

check_deploy.py chart RENDERED FOLDER    checks the rendered objects; writes the worker's
                                         configuration to FOLDER/dorfman.yaml and Kubernetes' own
                                         objects to FOLDER/kubernetes.yaml
check_deploy.py compose FILE             checks the compose file
"""

import sys
from pathlib import Path
from typing import Any

import custom_resources
import yaml

Objects = list[dict[str, Any]]


def main() -> None:
    command, file, *rest = sys.argv[1:]
    if command == "chart":
        objects = [o for o in yaml.safe_load_all(Path(file).read_text()) if o]
        folder = Path(rest[0])
        (folder / "dorfman.yaml").write_text(chart(objects))
        own = [o for o in objects if not custom_resources.is_custom(o)]
        (folder / "kubernetes.yaml").write_text(yaml.safe_dump_all(own))
    else:
        compose(yaml.safe_load(Path(file).read_text()), Path(file).parent)


def must(holds: bool, what: str) -> None:
    if not holds:
        sys.exit(f"check_deploy: {what}")


def chart(objects: Objects) -> str:
    """Checks names that must agree for any values. charts/tests checks the effect of each value.

    Returns the worker's configuration.
    """
    (workload,) = (o for o in objects if o["kind"] in ("Deployment", "StatefulSet"))
    selector = workload["spec"]["selector"]["matchLabels"]
    template = workload["spec"]["template"]
    labels = template["metadata"]["labels"].items()
    must(selector.items() <= labels, f"the selector of the {workload['kind']} does not match its pods")
    for kind, selects in [
        ("Service", lambda spec: spec["selector"]),
        ("PodDisruptionBudget", lambda spec: spec["selector"]["matchLabels"]),
        ("NetworkPolicy", lambda spec: spec["podSelector"]["matchLabels"]),
        ("PodMonitor", lambda spec: spec["selector"]["matchLabels"]),
    ]:
        for other in of_kind(objects, kind):
            must(selects(other["spec"]).items() <= labels, f"the selector of the {kind} does not match the pods")
    for scaled in of_kind(objects, "ScaledObject"):
        target = scaled["spec"]["scaleTargetRef"]
        must((target["kind"], target["name"]) == (workload["kind"], workload["metadata"]["name"]), "the ScaledObject does not scale the workload")

    pod = template["spec"]
    accounts = [o["metadata"]["name"] for o in of_kind(objects, "ServiceAccount")]
    must(pod["serviceAccountName"] in [*accounts, "default"], "the pods' service account is not in the chart")
    (container,) = pod["containers"]
    for one in [container, *pod.get("initContainers", [])]:
        must({m["name"] for m in one["volumeMounts"]} <= {v["name"] for v in pod["volumes"]}, f"a volume mount of {one['name']} has no volume")
    for o in filter(custom_resources.is_custom, objects):
        must(not custom_resources.errors(o), "\n".join(custom_resources.errors(o)))
        # A validator that accepts every object would pass the line above.
        wrong = o | {"spec": o["spec"] | {"unheard": "of"}}
        must(bool(custom_resources.errors(wrong)), f"the definition of {o['kind']} accepts any field")
    return worker_config(objects, pod, container)


def worker_config(objects: Objects, pod: dict[str, Any], container: dict[str, Any]) -> str:
    """The configuration that the worker is started with, found through its arguments and mounts."""
    given = Path(container["args"][container["args"].index("--config") + 1])
    (mount,) = (m for m in container["volumeMounts"] if m["mountPath"] == str(given.parent))
    (source,) = (v["configMap"]["name"] for v in pod["volumes"] if v["name"] == mount["name"])
    maps = {o["metadata"]["name"]: o["data"] for o in of_kind(objects, "ConfigMap")}
    must(given.name in maps.get(source, {}), f"{given} is not in the chart")
    text: str = maps[source][given.name]
    settings = yaml.safe_load(text)
    mounts = [Path(m["mountPath"]) for m in container["volumeMounts"]]
    for root in settings.get("fetch", {}).get("roots", []):
        must(any(Path(root).is_relative_to(m) for m in mounts), f"fetch.roots: {root} is not mounted, so the worker would not start")
    ports = {p["name"]: p["containerPort"] for p in container["ports"]}
    must(str(ports["http"]) == settings["ops"]["listen"].rpartition(":")[2], "ops.listen has another port than the container")
    for service in of_kind(objects, "Service"):
        must(all(p["targetPort"] in ports for p in service["spec"]["ports"]), "a port of the Service is not a port of the container")
    return text


def of_kind(objects: Objects, kind: str) -> Objects:
    return [o for o in objects if o["kind"] == kind]


def compose(file: dict[str, Any], folder: Path) -> None:
    services = file["services"]
    for name, service in services.items():
        for other in service.get("depends_on", {}):
            must(other in services, f"{name} depends on {other}, which is not a service")
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            known = (folder / source).exists() if source.startswith(".") else source in file["volumes"]
            must(known, f"{name} mounts {source}, which does not exist")
    worker, producer = services["worker"], services["producer"]
    must(worker["image"] == producer["image"], "the producer has another image than the worker")
    config = next(v for v in worker["volumes"] if v.split(":")[1] == "/etc/dorfman/dorfman.yaml")
    settings = yaml.safe_load((folder / config.split(":")[0]).read_text())
    command = producer["command"]
    for option, key in [("--brokers", settings["kafka"]["brokers"]), ("--topic", settings["source"]["topic"])]:
        must(command[command.index(option) + 1] == key, f"the producer's {option} differs from the worker's configuration")
    # Every reference must name a file that the image server has.
    listed, served = ({there: folder / here for here, there, *_ in (v.split(":") for v in services[s]["volumes"])} for s in ("producer", "images"))
    arguments = services["images"]["command"]
    root, at = (arguments[arguments.index(option) + 1] for option in ("-h", "-p"))
    for url in sorted(set(listed[command[-1]].read_text().split())):
        image = url.removeprefix(f"http://images:{at}/")
        must(image != url and (served[root] / image).is_file(), f"the image server does not have {url}")
    must(settings["fetch"]["allow_private"] is True, "fetch.allow_private must be true: the image server has a private address")
    made = services["topics"]["command"][0]
    topics = [settings["source"]["topic"], *(v for k, v in settings["sink"].items() if k.endswith("_topic"))]
    must(all(t in made.split() or f"{t};" in made.split() for t in topics), f"the topics service does not create all of {topics}")
    port = settings["ops"]["listen"].rpartition(":")[2]
    must(any(p.endswith(f":{port}") for p in worker["ports"]), "the worker's port is not published")


if __name__ == "__main__":
    main()
