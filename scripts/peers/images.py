"""Photos of the size of a screen: 1920 x 1080 pixels, with the grain and the bytes of a camera's."""

from pathlib import Path

import numpy as np
from PIL import Image

SIZE = 1920, 1080
# An enlarged photo has no fine detail, so that its JPEG would be small and quick to decode. Grain
# brings the file to about 500 kB. At the size of the network's input, it is averaged away.
GRAIN = 7.0
QUALITY = 85


def enlarge(photo: Path, target: Path, seed: int) -> None:
    """Writes a photo at full size. It fills the width and the height, as the networks' inputs do."""
    with Image.open(photo) as opened:
        large = np.asarray(opened.convert("RGB").resize(SIZE, Image.Resampling.BICUBIC), np.float32)
    grain = np.random.default_rng(seed).normal(0, GRAIN, large.shape[:2])
    Image.fromarray((large + grain[..., None]).clip(0, 255).astype(np.uint8)).save(target, quality=QUALITY)
