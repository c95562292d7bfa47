"""Restores a network with batch norms from a bundle, in which they are folded.

This allows training to start from a bundle instead of a checkpoint.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Iterator, Sequence

import torch
from torch import Tensor, nn

from . import groups, merge_nodes
from .config import Config
from .data import Split, normalise
from .fold import is_pair
from .model import StagedNet, build
from .pixels import PREFIX
from .train import weights

STATISTICS = 512  # images


def start(settings: Config, folder: Path, split: Split) -> dict[str, Tensor]:
    """Returns the weights of the bundle in `folder`, as initial weights for `train.Trainer`.

    The statistics of the batch norms are measured on tests that are drawn as in training.
    """
    model = build(settings.network, settings.design, settings.input)
    generator = torch.Generator().manual_seed(settings.train.seed)
    hot = groups.take(split.rows(True), STATISTICS * settings.train.positives // settings.train.images, generator)
    rows = torch.cat([hot, groups.take(split.rows(False), STATISTICS - len(hot), generator)])
    index = torch.arange(len(rows))
    drawn = groups.draw_mixed(settings.train, index[: len(hot)], index[len(hot) :], generator)
    load(model, folder, normalise(split.images[rows], settings.input), groups.levels(drawn.members, drawn.sizes, model.fans))
    return weights(model)


def load(model: StagedNet, folder: Path, images: Tensor, levels: Sequence[Tensor]) -> None:
    """Loads the weights of the bundle in `folder` into `model`.

    The bundle must have the same parts; its cuts may differ. In evaluation mode the model then has the
    same scores as the bundle. The statistics of its batch norms are measured on a batch of tests
    (`images` and `levels` as in StagedNet.forward), so that the model can be trained further.
    """
    bare(model, initializers(folder))
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    hooks = [norm.register_forward_pre_hook(take_statistics) for norm in norms]
    with torch.no_grad():
        model.eval()(images, levels)
    for hook in hooks:
        hook.remove()


def initializers(folder: Path) -> list[Tensor]:
    """Returns the weights of a bundle's stages, in the order of its layers, without those of exits, of merges and of the normalisation."""
    import onnx.numpy_helper

    files = [stage["file"] for stage in json.loads((folder / "bundle.json").read_text())["stages"]]
    graphs = [onnx.load(str(folder / file)).graph for file in files]
    # The exporter also adds constants. Only weights are floats with at least one axis.
    every = [value for graph in graphs for value in graph.initializer if value.name not in merge_nodes.NAMES]
    values = [value for value in every if not value.name.startswith(("exit/", PREFIX))]
    arrays = [onnx.numpy_helper.to_array(value) for value in values]
    return [torch.from_numpy(array.copy()) for array in arrays if array.dtype.kind == "f" and array.ndim]


def bare(model: StagedNet, values: list[Tensor]) -> None:
    """Loads folded weights into convolutions and linear layers.

    A batch norm after a convolution becomes the identity plus the folded bias.
    """
    places = list(layers(model))
    wanted = [tensor.shape for conv, norm in places for tensor in (conv.weight, conv.bias if norm is None else norm.bias)]
    if wanted != [value.shape for value in values]:
        raise SystemExit("network.init names a bundle of another network: name one with the same parts")
    found = iter(values)
    with torch.no_grad():
        for layer, norm in places:
            layer.weight.copy_(next(found))
            bias = layer.bias if norm is None else norm.bias
            bias.copy_(next(found))
            if norm is not None:
                norm.weight.fill_(1)
                norm.running_mean.zero_()
                norm.running_var.fill_(1 - norm.eps)


def layers(model: nn.Module) -> Iterator[tuple[nn.Module, nn.BatchNorm2d | None]]:
    """Yields each layer that has weights in an exported graph, with the batch norm folded into it."""
    for module in model.modules():
        if is_pair(module):
            yield module[0], module[1]
        elif isinstance(module, nn.Linear):
            yield module, None


def take_statistics(norm: nn.BatchNorm2d, inputs: tuple[Tensor]) -> None:
    """Sets the mean and variance of `norm` to those of its input.

    Weight and bias are adjusted so that the output of `norm` does not change.
    """
    mean, variance = inputs[0].mean(dim=(0, 2, 3)), inputs[0].var(dim=(0, 2, 3), unbiased=False)
    norm.bias.add_(mean)
    norm.weight.copy_(torch.sqrt(variance + norm.eps))
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
