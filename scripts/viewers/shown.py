"""Prints what Pillow shows of image files, for tests/viewers.rs.

For each file: a line of JSON (name, bytes, and width and height of each frame, or an error), the file, and the pixels
of each frame (RGB, 8 bits, upright, transparency on white).

    python -m viewers.shown            # generated files
    python -m viewers.shown FOLDER     # the files of a folder
"""

import io
import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, ImageOps, ImageSequence

from . import kinds

# Frames of an animation, at most.
FRAMES = 8


def rgb(image: Image.Image) -> Image.Image:
    """An image upright, with transparency on white."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        # Viewers show the high byte. Pillow's conversion clips.
        image = image.point(lambda value: value / 256).convert("L")
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def frames(file: bytes) -> list[Image.Image]:
    with Image.open(io.BytesIO(file)) as image:
        if image.format in ("TIFF", "MPO"):
            return [rgb(image)]
        return [rgb(frame) for frame, _ in zip(ImageSequence.Iterator(image), range(FRAMES), strict=False)]


def files(folder: str | None) -> Iterator[tuple[str, bytes]]:
    if folder is None:
        yield from kinds.generated()
        return
    for path in sorted(Path(folder).rglob("*")):
        if path.is_file():
            yield str(path), path.read_bytes()


def main() -> None:
    warnings.simplefilter("ignore")
    out = sys.stdout.buffer
    for name, file in files(sys.argv[1] if len(sys.argv) > 1 else None):
        found: list[Image.Image] = []
        error = None
        try:
            found = frames(file)
        except Exception as e:  # noqa: BLE001 - whatever Pillow raises, it does not show the file
            error = f"{type(e).__name__}: {e}"
        head = {"name": name, "bytes": len(file), "frames": [frame.size for frame in found], "error": error}
        out.write(json.dumps(head).encode() + b"\n" + file)
        for frame in found:
            out.write(frame.tobytes())


if __name__ == "__main__":
    main()
