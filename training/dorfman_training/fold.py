"""Folds batch norms into the convolutions before them, to remove them from the exported graph."""

from __future__ import annotations

import copy

import torch
from torch import nn


def folded(model: nn.Module) -> nn.Module:
    """Returns a copy in evaluation mode without the batch norms that follow a convolution.

    Every Sequential of one convolution and one batch norm becomes one convolution.
    """
    model = copy.deepcopy(model).eval()
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if is_pair(child):
                setattr(module, name, fold(child[0], child[1]))
    return model


def is_pair(module: nn.Module) -> bool:
    return isinstance(module, nn.Sequential) and len(module) == 2 and isinstance(module[0], nn.Conv2d) and isinstance(module[1], nn.BatchNorm2d)


def fold(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    whole = nn.Conv2d(conv.in_channels, conv.out_channels, conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups, bias=True)
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    bias = conv.bias if conv.bias is not None else torch.zeros_like(norm.running_mean)
    with torch.no_grad():
        whole.weight.copy_(conv.weight * scale.reshape(-1, 1, 1, 1))
        whole.bias.copy_((bias - norm.running_mean) * scale + norm.bias)
    return whole.to(conv.weight.device).eval()
