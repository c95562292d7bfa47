"""What `make results` measures: sets of images, and the plans that are run on each set."""

from __future__ import annotations

from dataclasses import dataclass

ARITIES = (1, 2, 4, 8, 16, 32)  # group sizes that the tables show


@dataclass(frozen=True)
class Run:
    """The options of one run of `dorfman evaluate`."""

    bundles: tuple[str, ...]  # configurations in training/configs
    sizes: tuple[int, ...] = ()  # empty: the planner's plans, with their exits (`--plan best`)
    policies: tuple[str, ...] = ("two-round", "multi-round")
    chain: str = "4"
    pooled: str = "0.99"
    individual: str = "0.99"
    confirm: str | None = None  # sensitivity of the confirm network; None: not used
    worth: str = "500"  # individual tests that finding one positive is worth, for policy `planned`
    cap: int = 16384  # maximum of images per stratum
    loss: str | None = None  # planner's plans only: `--recall-loss`; None: the worker's default, 0.01


@dataclass(frozen=True)
class Set:
    """One set of images and the runs on it."""

    name: str  # of its files in docs/results/
    title: str  # of its page
    stream: str  # the images' name in the summary table
    positive: str  # positive classes, separated by commas
    source: str  # fashion, clothing or firearms
    runs: tuple[Run, ...]
    split: str = "test"  # the split of the data that the images come from
    negatives: tuple[str, ...] = ()  # classes of the negatives; empty: all
    picture: bool = False  # draw the first run as SVG
    verdicts: str = ""  # LABEL=CLASS[,CLASS] of ImageNet: Lite0 is cut, and positive is what it flags (`dorfman_training.imagenet`)
    config: str = ""  # with `verdicts`: the configuration whose data are used


SCENES = tuple(f"scene_{kind}" for kind in ("buildings", "forest", "glacier", "mountain", "sea", "street"))
FIREARMS = "handgun,long_gun,firearm"
FASHION = ("fashion-bag", "fashion-bag-early", "fashion-bag-tree", "fashion-bag-tree3", "fashion-bag-pixel")
SETS = (
    Set(
        "fashion-bag", "Bags: where to merge", "bags", "bag", "fashion",
        (
            Run(FASHION, (4, 16)),
            Run(("fashion-bag",), (8, 32), cap=32768),
        ),
        picture=True,
    ),
    # The sensitivities and the worth were chosen on the calibration images.
    Set(
        "fashion-bag-plans", "Bags: chains of halves", "bags", "bag", "fashion",
        (
            Run(("fashion-bag",), (16,), ("multi-round", "planned"), chain="8,4,2", worth="60000"),
            Run(("fashion-bag",), (16,), ("multi-round",), chain="8,4,2", individual="0.995", confirm="0.995"),
            Run(("fashion-bag",), (32,), ("multi-round",), chain="16,8,4,2", individual="0.995", confirm="0.995", cap=32768),
            Run(("fashion-bag-tree", "fashion-bag-tree-long"), (16,), ("multi-round",), chain="8,4,2"),
            Run(("fashion-bag-tree-long",), (32,), ("multi-round",), chain="16,8,4,2", cap=32768),
        ),
    ),
    # docs/planning.md compares the expected costs of plans with this set.
    Set("planning", "Bags: calibration images", "bags", "bag", "fashion", (Run(("fashion-bag",), (4, 16, 32)),), split="calibration"),
    # The sensitivities were chosen on the calibration images.
    Set(
        "fashion-boot", "Ankle boots", "boots", "ankle-boot", "fashion",
        (
            Run(("fashion-boot",), (4, 16)),
            Run(("fashion-boot",), (16,), ("multi-round",), pooled="0.985"),
            Run(("fashion-boot",), (16,), ("multi-round",), chain="8,4,2", pooled="0.99,0.9925"),
            Run(("fashion-boot",), (32,), ("multi-round",), chain="16,8,4,2", pooled="0.99,0.9925", cap=32768),
            Run(("fashion-boot",), (16,), ("multi-round",), chain="8,4,2", pooled="0.9925", individual="0.995", confirm="0.995"),
        ),
    ),
    Set(
        "shoes-tree", "Shoes: merged as a tree", "shoes", "shoes", "clothing",
        (Run(("shoes-lite0-tree",), (4, 8), chain="2", cap=2048), Run(("shoes-lite0-tree",), (2,), ("two-round",), cap=2048)),
    ),
    Set("shoes", "Shoes: merged after block 4", "shoes", "shoes", "clothing", (Run(("shoes-lite0",), (2, 4), ("two-round",), cap=2048),)),
    # The pooled sensitivities were chosen on the calibration images.
    Set(
        "shoes-wide", "Shoes: merged inside a block", "shoes", "shoes", "clothing",
        (
            Run(("shoes-lite0-wide", "shoes-lite0-wide3"), (2,), ("two-round",), pooled="0.98", cap=2048),
            Run(("shoes-lite0-wide", "shoes-lite0-wide3"), (3,), ("two-round",), pooled="0.98", cap=2048),
            Run(("shoes-lite0-wide", "shoes-lite0-wide3"), (4,), ("multi-round",), chain="2", pooled="0.98", cap=2048),
        ),
    ),
    Set(
        "shoes-coarse", "Shoes: coarse first stage", "shoes", "shoes", "clothing",
        (
            Run(("shoes-coarse1", "shoes"), (2, 3), ("two-round",), pooled="0.98", cap=2048),
            Run(("shoes-coarse1", "shoes"), (4,), ("multi-round",), chain="2", pooled="0.98", cap=2048),
            Run(("shoes-coarse1", "shoes"), (8,), ("multi-round",), chain="4,2", pooled="0.98", cap=2048),
        ),
    ),
    # Several pooled sensitivities are run because none could be chosen: with 23 calibration images,
    # neighbouring operating points differ by one image or none.
    Set(
        "hats", "Hats", "hats", "hat", "clothing",
        (
            Run(("hats-lite0", "hats"), (2,), ("two-round",), cap=2048),
            Run(("hats",), (2,), ("two-round",), pooled="0.95,0.98,0.998", cap=2048),
            Run(("hats",), (3,), ("two-round",), pooled="0.95,0.98", cap=2048),
            Run(("hats",), (4,), ("multi-round",), chain="2", pooled="0.95,0.98,0.99", cap=2048),
        ),
    ),
    # All bundles in pairs; the best bundle also in larger groups and with the confirm network.
    Set(
        "firearms", "Firearms", "firearms", FIREARMS, "firearms",
        (
            Run(("firearms-lite0-wide", "firearms-lite0", "firearms"), (2,), ("two-round",), cap=8192),
            Run(("firearms-lite0-wide",), (3,), ("two-round",), cap=8192),
            Run(("firearms-lite0-wide",), (4,), ("multi-round",), chain="2", cap=8192),
            Run(("firearms-lite0-wide",), (2,), ("two-round",), individual="0.995", confirm="0.995", cap=8192),
        ),
    ),
    # A stream with easy negatives.
    Set(
        "firearms-scenes", "Firearms among scenes", "firearms among scenes", FIREARMS, "firearms",
        (
            Run(("firearms-lite0-wide",), (2, 3), ("two-round",), cap=8192),
            Run(("firearms-lite0-wide",), (4,), ("multi-round",), chain="2", cap=8192),
        ),
        negatives=SCENES,
    ),
    # The planner's plans: a screen, exits and pooling, beside a plain cascade and pooling alone.
    Set("exits-bags", "Bags: exits and pooling", "bags", "bag", "fashion", (Run(("fashion-bag",), loss="0.005"),)),
    Set("exits-boots", "Ankle boots: exits and pooling", "boots", "ankle-boot", "fashion", (Run(("fashion-boot",), loss="0.003"),)),
    Set("exits-shoes", "Shoes: a screen, exits and pooling", "shoes", "shoes", "clothing", (Run(("shoes",), cap=2048),)),
    Set(
        "exits-shoes-cam", "Shoes: merged by class activation maps", "shoes", "shoes", "clothing",
        (Run(("shoes-cam",), cap=2048),),
    ),
    Set("exits-hats", "Hats: a screen, exits and pooling", "hats", "hat", "clothing", (Run(("hats",), cap=2048),)),
    Set(
        "exits-hats-cam", "Hats: merged by class activation maps", "hats", "hat", "clothing",
        (Run(("hats-cam",), cap=2048),),
    ),
    Set(
        "exits-firearms", "Firearms: a screen, exits and pooling", "firearms", FIREARMS, "firearms",
        (Run(("firearms-lite0-wide",), cap=8192, loss="0.008"),),
    ),
    Set(
        "exits-firearms-lite2", "Firearms: EfficientNet-Lite2 with a screen and exits", "firearms", FIREARMS, "firearms",
        (Run(("firearms-lite2",), cap=8192, loss="0.008"),),
    ),
    Set(
        "exits-firearms-scenes", "Firearms among scenes: a screen, exits and pooling", "firearms among scenes", FIREARMS, "firearms",
        (Run(("firearms-lite0-wide",), cap=8192, loss="0.008"),),
        negatives=SCENES,
    ),
    Set(
        "exits-firearms-lite2-scenes", "Firearms among scenes: EfficientNet-Lite2 with a screen and exits", "firearms among scenes", FIREARMS,
        "firearms",
        (Run(("firearms-lite2",), cap=8192, loss="0.008"),),
        negatives=SCENES,
    ),
    Set(
        "exits-cut-jersey", "A cut network's own verdicts: jersey or T-shirt", "jerseys (cut network)", "flagged", "clothing",
        (Run(("lite0-jersey",), individual="0.999"),),
        verdicts="jersey=610", config="shoes",
    ),
    Set(
        "exits-cut-firearms", "A cut network's own verdicts: firearms", "firearms (cut network)", "flagged", "firearms",
        (Run(("lite0-firearm",), individual="0.999", cap=8192),),
        verdicts="firearm=413,763,764", config="firearms-lite0-wide",
    ),
    # tests/planning.rs compares the expected and the measured figures of these sets.
    Set("planning-bags", "Bags: the planner's plans on calibration images", "bags", "bag", "fashion", (Run(("fashion-bag",)),), split="calibration"),
    Set(
        "planning-shoes", "Shoes: the planner's plans on calibration images", "shoes", "shoes", "clothing",
        (Run(("shoes",), cap=2048),),
        split="calibration",
    ),
)  # fmt: skip
