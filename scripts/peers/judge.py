"""What the Python workers share: decoding with Pillow in a pool of threads, and ONNX Runtime in batches."""

import json
import os
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

BATCH = 64


@dataclass(frozen=True)
class Reference:
    """An image of the stream."""

    id: str
    uri: str

    @staticmethod
    def parsed(message: bytes) -> "Reference":
        fields = json.loads(message)
        return Reference(fields["id"], fields["uri"])


class Network:
    """A model and the decoding for its input."""

    def __init__(self, folder: Path, described: dict) -> None:
        self.size = described["width"], described["height"]
        self.mode = "L" if described["grey"] else "RGB"
        self.draft, self.threshold = described["draft"], described["threshold"]
        options = onnxruntime.SessionOptions()
        # Threads that spin would take the cores from decoding.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self.session = onnxruntime.InferenceSession(folder / described["file"], options, providers=["CPUExecutionProvider"])

    def decode(self, uri: str) -> np.ndarray:
        with Image.open(uri) as image:
            if self.draft:
                image.draft(self.mode, tuple(side * self.draft for side in self.size))
            if image.mode != self.mode:
                image = image.convert(self.mode)
            if image.size != self.size:
                image = image.resize(self.size, Image.Resampling.BILINEAR)
            pixels = np.asarray(image)
        return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)

    def scores(self, pixels: list[np.ndarray]) -> np.ndarray:
        return self.session.run(None, {self.session.get_inputs()[0].name: np.stack(pixels)})[0][:, 0]


class Judge:
    """Scores batches of images. With a screen, only the images that pass it meet the network."""

    def __init__(self, peer: Path, screen: bool) -> None:
        described = json.loads(peer.read_text())
        self.network = Network(peer.parent, described["network"])
        self.screen = Network(peer.parent, described["screen"]) if screen else None
        self.first = self.screen or self.network
        threads = len(os.sched_getaffinity(0))
        self.pool = ThreadPoolExecutor(threads)
        # The images of the next batch must not delay those that have passed the screen.
        self.passed = ThreadPoolExecutor(threads)

    def decoding(self, images: list[Reference]) -> list[Future[np.ndarray]]:
        """Starts decoding the images of a batch."""
        return [self.pool.submit(self.first.decode, image.uri) for image in images]

    def flags(self, images: list[Reference], decoding: list[Future[np.ndarray]]) -> list[bytes]:
        """Waits until a batch is decoded, and scores it. Returns a flag for each positive image."""
        scores = self.first.scores([decoded.result() for decoded in decoding])
        if self.screen:
            images = [image for image, score in zip(images, scores, strict=True) if score >= self.screen.threshold]
            scores = self._tested(images)
        scored = zip(images, scores, strict=True)
        return [json.dumps({"id": image.id, "score": float(score)}).encode() for image, score in scored if score >= self.network.threshold]

    def _tested(self, images: list[Reference]) -> np.ndarray:
        if not images:
            return np.empty(0)
        return self.network.scores(list(self.passed.map(self.network.decode, [image.uri for image in images])))
