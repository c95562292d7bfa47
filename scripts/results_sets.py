"""What `make results` measures: sets of images, and the plans that are tried on each."""

from __future__ import annotations

from dataclasses import dataclass

ARITIES = (1, 2, 4, 8, 16, 32)  # sizes that the tables tell of


@dataclass(frozen=True)
class Run:
    """Cases of one `dorfman evaluate`."""

    bundles: tuple[str, ...]  # configurations in training/configs
    sizes: tuple[int, ...]
    policies: tuple[str, ...] = ("two-round", "multi-round")
    chain: str = "4"
    pooled: str = "0.99"
    individual: str = "0.99"
    confirm: str | None = None  # the confirm network's sensitivity; none: it is not asked
    worth: str = "500"  # of a positive, for the planned policy
    cap: int = 16384  # images of a stratum


@dataclass(frozen=True)
class Set:
    name: str
    stream: str  # what its tables call the images
    positive: str
    source: str  # fashion, clothing or firearms
    runs: tuple[Run, ...]
    split: str = "test"  # whose images
    negatives: tuple[str, ...] = ()  # classes of the stream's negatives; none: all
    picture: bool = False  # of the first run, for the page


FIREARMS = "handgun,long_gun,firearm"
FASHION = ("fashion-bag", "fashion-bag-early", "fashion-bag-tree", "fashion-bag-tree3", "fashion-bag-pixel")
SETS = (
    Set(
        "fashion-bag", "bags", "bag", "fashion",
        (
            Run(FASHION, (4, 16)),
            Run(("fashion-bag",), (8, 32), cap=32768),
        ),
        picture=True,
    ),
    # Sensitivities and worth were chosen on the calibration images.
    Set(
        "fashion-bag-plans", "bags", "bag", "fashion",
        (
            Run(("fashion-bag",), (16,), ("multi-round", "planned"), chain="8,4,2", worth="60000"),
            Run(("fashion-bag",), (16,), ("multi-round",), chain="8,4,2", individual="0.995", confirm="0.995"),
            Run(("fashion-bag",), (32,), ("multi-round",), chain="16,8,4,2", individual="0.995", confirm="0.995", cap=32768),
            Run(("fashion-bag-tree", "fashion-bag-tree-long"), (16,), ("multi-round",), chain="8,4,2"),
            Run(("fashion-bag-tree-long",), (32,), ("multi-round",), chain="16,8,4,2", cap=32768),
        ),
    ),
    # What docs/planning.md holds its expectations against.
    Set("planning", "bags", "bag", "fashion", (Run(("fashion-bag",), (4, 16, 32)),), split="calibration"),
    # Sensitivities were chosen on the calibration images.
    Set(
        "fashion-boot", "boots", "ankle-boot", "fashion",
        (
            Run(("fashion-boot",), (4, 16)),
            Run(("fashion-boot",), (16,), ("multi-round",), pooled="0.985"),
            Run(("fashion-boot",), (16,), ("multi-round",), chain="8,4,2", pooled="0.99,0.9925"),
            Run(("fashion-boot",), (32,), ("multi-round",), chain="16,8,4,2", pooled="0.99,0.9925", cap=32768),
            Run(("fashion-boot",), (16,), ("multi-round",), chain="8,4,2", pooled="0.9925", individual="0.995", confirm="0.995"),
        ),
    ),
    Set(
        "shoes-tree", "shoes", "shoes", "clothing",
        (Run(("shoes-lite0-tree",), (4, 8), chain="2", cap=2048), Run(("shoes-lite0-tree",), (2,), ("two-round",), cap=2048)),
    ),
    Set("shoes", "shoes", "shoes", "clothing", (Run(("shoes-lite0",), (2, 4), ("two-round",), cap=2048),)),
    # Pooled sensitivities were chosen on the calibration images.
    Set(
        "shoes-wide", "shoes", "shoes", "clothing",
        (
            Run(("shoes-lite0-wide", "shoes-lite0-wide3"), (2,), ("two-round",), pooled="0.98", cap=2048),
            Run(("shoes-lite0-wide", "shoes-lite0-wide3"), (3,), ("two-round",), pooled="0.98", cap=2048),
            Run(("shoes-lite0-wide", "shoes-lite0-wide3"), (4,), ("multi-round",), chain="2", pooled="0.98", cap=2048),
        ),
    ),
    Set(
        "shoes-coarse", "shoes", "shoes", "clothing",
        (
            Run(("shoes-coarse1", "shoes"), (2, 3), ("two-round",), pooled="0.98", cap=2048),
            Run(("shoes-coarse1", "shoes"), (4,), ("multi-round",), chain="2", pooled="0.98", cap=2048),
            Run(("shoes-coarse1", "shoes"), (8,), ("multi-round",), chain="4,2", pooled="0.98", cap=2048),
        ),
    ),
    # Pooled sensitivities are tried, not chosen: with 23 images to calibrate by, the next two points hold one image or none.
    Set(
        "hats", "hats", "hat", "clothing",
        (
            Run(("hats-lite0", "hats"), (2,), ("two-round",), cap=2048),
            Run(("hats",), (2,), ("two-round",), pooled="0.95,0.98,0.998", cap=2048),
            Run(("hats",), (3,), ("two-round",), pooled="0.95,0.98", cap=2048),
            Run(("hats",), (4,), ("multi-round",), chain="2", pooled="0.95,0.98,0.99", cap=2048),
        ),
    ),
    # All bundles in pairs; the best one in larger groups, and with the confirm network.
    Set(
        "firearms", "firearms", FIREARMS, "firearms",
        (
            Run(("firearms-lite0-wide", "firearms-lite0", "firearms"), (2,), ("two-round",), cap=8192),
            Run(("firearms-lite0-wide",), (3,), ("two-round",), cap=8192),
            Run(("firearms-lite0-wide",), (4,), ("multi-round",), chain="2", cap=8192),
            Run(("firearms-lite0-wide",), (2,), ("two-round",), individual="0.995", confirm="0.995", cap=8192),
        ),
    ),
    # A stream whose negatives are easy.
    Set(
        "firearms-scenes", "firearms among scenes", FIREARMS, "firearms",
        (
            Run(("firearms-lite0-wide",), (2, 3), ("two-round",), cap=8192),
            Run(("firearms-lite0-wide",), (4,), ("multi-round",), chain="2", cap=8192),
        ),
        negatives=tuple(f"scene_{kind}" for kind in ("buildings", "forest", "glacier", "mountain", "sea", "street")),
    ),
)  # fmt: skip
