"""What schemas can't say about the chart and the compose file. Called by check-deploy.sh.

check_deploy.py chart RENDERED CONFIG    checks the rendered objects and writes the worker's configuration among them to CONFIG
check_deploy.py compose FILE
"""

import sys
from pathlib import Path

import yaml


def main() -> None:
    command, file, *rest = sys.argv[1:]
    if command == "chart":
        objects = [o for o in yaml.safe_load_all(Path(file).read_text()) if o]
        Path(rest[0]).write_text(chart(objects))
    else:
        compose(yaml.safe_load(Path(file).read_text()), Path(file).parent)


def must(holds: bool, what: str) -> None:
    if not holds:
        sys.exit(f"check_deploy: {what}")


def chart(objects: list[dict]) -> str:
    def one(kind: str) -> dict:
        found = [o for o in objects if o["kind"] == kind]
        must(len(found) == 1, f"{len(found)} objects of the kind {kind}, not one")
        return found[0]

    deployment, service, config = one("Deployment"), one("Service"), one("ConfigMap")
    template = deployment["spec"]["template"]
    pod = template["spec"]
    (container,) = pod["containers"]
    labels = template["metadata"]["labels"].items()
    must(deployment["spec"]["selector"]["matchLabels"].items() <= labels, "the Deployment doesn't select its pods")
    must(service["spec"]["selector"].items() <= labels, "the Service doesn't select the pods")
    accounts = [o["metadata"]["name"] for o in objects if o["kind"] == "ServiceAccount"]
    must(pod["serviceAccountName"] in [*accounts, "default"], "the pods' service account isn't in the chart")

    ports = {p["name"]: p["containerPort"] for p in container["ports"]}
    for probe, path in [("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")]:
        get = container[probe]["httpGet"]
        must(get["path"] == path and get["port"] in ports, f"{probe} doesn't ask for {path} at a port of the container")
    must(all(p["targetPort"] in ports for p in service["spec"]["ports"]), "the Service's port isn't the container's")

    text = config["data"]["dorfman.yaml"]
    settings = yaml.safe_load(text)
    must(str(ports["http"]) == settings["ops"]["listen"].rpartition(":")[2], "the worker listens elsewhere")
    volumes = {v["name"]: v for v in pod["volumes"]}
    mounts = {m["mountPath"]: m["name"] for m in container["volumeMounts"]}
    must(set(mounts.values()) <= set(volumes), "a mount has no volume")
    given = Path(container["args"][container["args"].index("--config") + 1])
    source = volumes[mounts[str(given.parent)]]["configMap"]["name"]
    must(source == config["metadata"]["name"] and given.name in config["data"], "the worker reads another file than the chart's")
    must("checksum/config" in template["metadata"]["annotations"], "a change of the configuration replaces no pod")

    # Kubernetes' "restricted" pod security standard, and a root file system that can't be written.
    of_pod, of_container = pod["securityContext"], container["securityContext"]
    must(of_pod["runAsNonRoot"] is True and of_pod["runAsUser"] > 0, "the pod may run as root")
    must(of_pod["seccompProfile"]["type"] == "RuntimeDefault", "the pod has no seccomp profile")
    must(of_container["allowPrivilegeEscalation"] is False, "the container may gain privileges")
    must(of_container["capabilities"] == {"drop": ["ALL"]}, "the container keeps capabilities")
    must(of_container["readOnlyRootFilesystem"] is True, "the root file system can be written")
    return text


def compose(file: dict, folder: Path) -> None:
    services = file["services"]
    for name, service in services.items():
        for other in service.get("depends_on", {}):
            must(other in services, f"{name} depends on {other}, which is no service")
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            known = (folder / source).exists() if source.startswith(".") else source in file["volumes"]
            must(known, f"{name} mounts {source}, which is not there")
    worker, producer = services["worker"], services["producer"]
    must(worker["image"] == producer["image"], "the producer runs another image than the worker")
    config = next(v for v in worker["volumes"] if v.split(":")[1] == "/etc/dorfman/dorfman.yaml")
    settings = yaml.safe_load((folder / config.split(":")[0]).read_text())
    command = producer["command"]
    for option, key in [("--brokers", settings["kafka"]["brokers"]), ("--topic", settings["source"]["topic"])]:
        must(command[command.index(option) + 1] == key, f"the producer's {option} isn't the worker's")
    # What the references name is there, at the server of images.
    listed, served = ({there: folder / here for here, there, *_ in (v.split(":") for v in services[s]["volumes"])} for s in ("producer", "images"))
    arguments = services["images"]["command"]
    root, at = (arguments[arguments.index(option) + 1] for option in ("-h", "-p"))
    for url in sorted(set(listed[command[-1]].read_text().split())):
        image = url.removeprefix(f"http://images:{at}/")
        must(image != url and (served[root] / image).is_file(), f"the server of images hasn't {url}")
    must(settings["fetch"]["allow_private"] is True, "the worker may not fetch from the server of images")
    made = services["topics"]["command"][0]
    topics = [settings["source"]["topic"], *(v for k, v in settings["sink"].items() if k.endswith("_topic"))]
    must(all(t in made.split() or f"{t};" in made.split() for t in topics), f"not all of {topics} are made")
    port = settings["ops"]["listen"].rpartition(":")[2]
    must(any(p.endswith(f":{port}") for p in worker["ports"]), "the worker's port isn't published")


main()
