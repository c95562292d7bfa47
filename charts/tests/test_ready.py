"""The script of `helm test`, run against a server that responds like a worker."""

import os
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

from chart import ChartTest


class Worker(BaseHTTPRequestHandler):
    """Not ready at the first request, like a worker that is joining its consumer group."""

    unready: ClassVar[int] = 1
    metrics = b"dorfman_items_total 0\n"

    def do_GET(self) -> None:
        if self.path == "/metrics":
            self.answer(200, self.metrics)
        elif self.unready > 0:
            type(self).unready -= 1
            self.answer(503, b"not yet in the group\n")
        else:
            self.answer(200, b"ok\n")

    def answer(self, code: int, body: bytes) -> None:
        self.send_response(code)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Ready(ChartTest):
    def ask(self, handler: type[Worker] | None, limit: int = 30) -> subprocess.CompletedProcess[str]:
        (container,) = self.one("Pod")["spec"]["containers"]
        with HTTPServer(("127.0.0.1", 0), handler or Worker) as server:
            port = server.server_port
            if handler:
                threading.Thread(target=server.serve_forever, daemon=True).start()
            else:
                server.server_close()
            done = subprocess.run(
                [*container["command"], *container["args"]],
                env={"PATH": os.environ["PATH"], "HOST": "127.0.0.1", "PORT": str(port), "LIMIT": str(limit)},
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            if handler:
                server.shutdown()
        return done

    def test_it_waits_until_a_worker_is_ready(self) -> None:
        done = self.ask(Worker)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("is ready", done.stdout)

    def test_it_names_why_no_worker_is_ready(self) -> None:
        done = self.ask(type("Never", (Worker,), {"unready": 1000}), limit=1)
        self.assertEqual(done.returncode, 1)
        self.assertIn("not yet in the group", done.stderr)

    def test_no_worker_responds(self) -> None:
        self.assertEqual(self.ask(None, limit=1).returncode, 1)

    def test_another_pod_is_not_a_worker(self) -> None:
        done = self.ask(type("Stranger", (Worker,), {"unready": 0, "metrics": b"other_total 0\n"}))
        self.assertEqual(done.returncode, 1)
        self.assertIn("no metrics", done.stderr)
