"""A Kubernetes control plane on loopback, with simulated GPU nodes. See README.md in this folder."""

import contextlib
import json
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import yaml

BIN = Path(__file__).resolve().parents[2] / ".dorfman" / "cluster" / "bin"
GPU = "nvidia.com/gpu"
# The longest time in seconds that a start may take, on a machine that is busy with a build.
PATIENCE = 180


class Cluster:
    """A context manager. The control plane runs inside `with`; its files are deleted at the end."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="dorfman-cluster-")
        self.folder = Path(self._folder.name)
        self.kubeconfig = self.folder / "kubeconfig"
        self._running: list[tuple[str, subprocess.Popen[bytes], IO[bytes]]] = []

    def __enter__(self) -> "Cluster":
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def kubectl(self, *arguments: str, given: Any = None) -> str:
        """Runs kubectl and returns its output. `given` is passed as standard input, for `-f -`.

        Raises CalledProcessError; `stderr` has the error message.
        """
        text = None if given is None else given if isinstance(given, str) else json.dumps(given)
        return subprocess.run(self.command(*arguments), input=text, capture_output=True, text=True, check=True, timeout=600).stdout

    def command(self, *arguments: str) -> list[str]:
        return [str(BIN / "kubectl"), "--kubeconfig", str(self.kubeconfig), *arguments]

    @contextlib.contextmanager
    def paused(self, name: str) -> Iterator[None]:
        """Pauses one of the processes inside `with`."""
        (process,) = (process for running, process, _ in self._running if running == name)
        process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        # In reverse order, so that no process loses a process that it depends on.
        for _, process, _ in reversed(self._running):
            process.terminate()
        for _, process, log in reversed(self._running):
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            log.close()
        self._running.clear()
        self._folder.cleanup()

    def _start(self) -> None:
        etcd, peer, port = free_ports(3)
        token = secrets.token_hex(16)
        key, public = self.folder / "sa.key", self.folder / "sa.pub"
        for made in (["genrsa", "-out", str(key), "2048"], ["rsa", "-in", str(key), "-pubout", "-out", str(public)]):
            subprocess.run(["openssl", *made], check=True, capture_output=True)
        (self.folder / "tokens.csv").write_text(f'{token},admin,admin,"system:masters"\n')
        self._run("etcd", f"--data-dir={self.folder}/etcd", f"--listen-client-urls=http://127.0.0.1:{etcd}",
                  f"--advertise-client-urls=http://127.0.0.1:{etcd}", f"--listen-peer-urls=http://127.0.0.1:{peer}",
                  f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}", f"--initial-cluster=default=http://127.0.0.1:{peer}",
                  # The cluster lasts minutes and is never restarted.
                  "--unsafe-no-fsync")  # fmt: skip
        self._run("kube-apiserver", f"--etcd-servers=http://127.0.0.1:{etcd}", "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1",
                  f"--secure-port={port}", f"--cert-dir={self.folder}/api", f"--token-auth-file={self.folder}/tokens.csv",
                  "--authorization-mode=RBAC", f"--service-account-key-file={public}", f"--service-account-signing-key-file={key}",
                  "--service-account-issuer=https://kubernetes.default.svc", "--service-cluster-ip-range=10.0.0.0/24",
                  "--endpoint-reconciler-type=none")  # fmt: skip
        self.kubeconfig.write_text(yaml.safe_dump(kubeconfig(f"https://127.0.0.1:{port}", f"{self.folder}/api/apiserver.crt", token)))
        self._until_ready("get", "--raw", "/readyz")
        self._run("kube-controller-manager", f"--kubeconfig={self.kubeconfig}", f"--service-account-private-key-file={key}",
                  "--leader-elect=false", "--secure-port=0")  # fmt: skip
        self._run("kube-scheduler", f"--kubeconfig={self.kubeconfig}", "--leader-elect=false", "--secure-port=0")
        self._run(
            "kwok",
            f"--kubeconfig={self.kubeconfig}",
            "--manage-all-nodes=true",
            "--server-address=127.0.0.1:0",
            # Without this option the nodes count as lost after some minutes.
            "--node-lease-duration-seconds=40",
        )
        names = [*(f"gpu-{n}" for n in range(3)), "plain"]
        for name in names:
            self.kubectl("apply", "-f", "-", given=node(name))
        self._until_ready("wait", "--for=condition=Ready", "--timeout=1s", *(f"node/{name}" for name in names))
        # The controllers create this account. No pod is admitted without it.
        self._until_ready("get", "serviceaccount", "default")

    def _run(self, name: str, *arguments: str) -> None:
        log = (self.folder / f"{name}.log").open("wb")
        process = subprocess.Popen([BIN / name, *arguments], stdout=log, stderr=log, cwd=self.folder, start_new_session=True)
        self._running.append((name, process, log))

    def _until_ready(self, *command: str) -> None:
        """Repeats the command until it succeeds. An object that does not exist yet cannot be watched."""
        end = time.monotonic() + PATIENCE
        while True:
            try:
                self.kubectl(*command)
                return
            except subprocess.CalledProcessError as error:
                for name, process, log in self._running:
                    if process.poll() is not None:
                        lines = Path(log.name).read_text(errors="replace").splitlines()[-15:]
                        raise RuntimeError("\n".join([f"{name} ended unexpectedly with exit code {process.returncode}:", *lines])) from None
                if time.monotonic() > end:
                    raise RuntimeError(f"kubectl {' '.join(command)}: {error.stderr.strip()}, after {PATIENCE} s") from None
                time.sleep(0.2)


def kubeconfig(server: str, authority: str, token: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": server, "certificate-authority": authority}}],
        "users": [{"name": "admin", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
        "current-context": "test",
    }


def node(name: str) -> dict[str, Any]:
    has_gpus = name.startswith("gpu-")
    labels = {"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": f"zone-{name[-1] if has_gpus else 0}"}
    resources = {"cpu": "32", "memory": "256Gi", "pods": "110"}
    if has_gpus:
        labels |= {f"{GPU}.present": "true"}
        resources |= {GPU: "4"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels, "annotations": {"kwok.x-k8s.io/node": "fake"}},
        "spec": {"taints": [{"key": GPU, "value": "present", "effect": "NoSchedule"}] if has_gpus else []},
        "status": {"allocatable": resources, "capacity": resources},
    }


def free_ports(count: int) -> list[int]:
    """Ports that are free now. All sockets are open at the same time, so the ports differ."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


if __name__ == "__main__":
    with Cluster() as cluster:
        print(f"export KUBECONFIG={cluster.kubeconfig} PATH={BIN}:$PATH", flush=True)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()
