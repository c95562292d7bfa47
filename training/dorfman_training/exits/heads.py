"""Fits the heads of exits: a linear layer or one hidden layer on pooled features."""

from __future__ import annotations

import copy
import dataclasses
import itertools
from dataclasses import dataclass
from functools import partial
from typing import Sequence

import numpy as np
import torch
from onnx import NodeProto, TensorProto, helper, numpy_helper
from torch import Tensor, nn

from .. import logistic
from ..logistic import Linear, balance, linear, loss_of
from . import folds, pools

HIDDEN = 64
WITH_HIDDEN = 2  # sets of vectors that are also tried with a hidden layer
FEW = 5000  # rows up to which more settings are tried
MOST_FOR_CHOICE = 15000  # rows with which the kinds of heads are compared
JUDGED_AT = (0.98, 0.99, 0.995)  # sensitivities at which kinds of heads are compared
NEAR = 1.1  # a kind that passes at most this many times the negatives of the best kind is as good


@dataclass(frozen=True)
class Kind:
    """What a head reads and how it is fitted."""

    pools: tuple[str, ...]
    hidden: int  # units of the hidden layer; 0: none
    decay: float  # weight of half the squared weights in the loss

    def macs(self, row: Sequence[int], labels: int) -> int:
        width = sum(pools.parts(row)[part] for part in self.pools)
        return self.hidden * (width + labels) if self.hidden else width * labels

    def __str__(self) -> str:
        return f"{'+'.join(self.pools)}, {f'{self.hidden} hidden' if self.hidden else 'linear'}"


@dataclass(frozen=True)
class Head:
    """A fitted head. Its layers are weights [outputs,inputs] and biases, with the standardisation folded in."""

    kind: Kind
    layers: tuple[tuple[np.ndarray, np.ndarray], ...]
    place: np.ndarray | None = None  # [positive labels,labels], 1 at the label's column in the output; None: all labels are positive

    @property
    def macs(self) -> int:
        return sum(weight.size for weight, _ in self.layers)

    def scores(self, vectors: np.ndarray) -> np.ndarray:
        """Returns the scores [N,positive labels] of vectors [N,width]; of [N,copies,width], the first copies are scored."""
        vectors = vectors if vectors.ndim == 2 else vectors[:, 0]
        x = torch.from_numpy(np.ascontiguousarray(vectors, dtype=np.float32))
        for number, (weight, bias) in enumerate(self.layers):
            x = linear(x.relu() if number else x, torch.from_numpy(weight), torch.from_numpy(bias))
        return torch.sigmoid(x.double()).numpy()

    def spread(self, columns: Sequence[int], labels: int) -> "Head":
        """Returns the head with one output per label of the bundle: 0 for labels that are not positive."""
        if list(columns) == list(range(labels)):
            return self
        place = np.zeros((len(columns), labels), np.float32)
        place[np.arange(len(columns)), list(columns)] = 1
        return dataclasses.replace(self, place=place)

    def nodes(self, source: str, target: str, row: Sequence[int], version: int) -> tuple[list[NodeProto], list[TensorProto]]:
        """Returns the nodes that compute `target` [N,labels] from features `source` [N,...], and their constants.

        All names begin with `exit/`, so that tools can tell the head from the network.
        """
        made, constants = pools.joined(self.kind.pools, source, "exit/vector", row, version, "exit/")
        at = "exit/vector"
        for number, (weight, bias) in enumerate(self.layers):
            if number:
                made.append(helper.make_node("Relu", [at], [f"{at}/relu"]))
                at = f"{at}/relu"
            names = [f"exit/weight{number}", f"exit/bias{number}"]
            constants += [numpy_helper.from_array(value, name) for value, name in zip((weight, bias), names)]
            made.append(helper.make_node("Gemm", [at, *names], [f"exit/layer{number}"], transB=1))
            at = f"exit/layer{number}"
        if self.place is None:
            return [*made, helper.make_node("Sigmoid", [at], [target])], constants
        constants.append(numpy_helper.from_array(self.place, "exit/place"))
        made.append(helper.make_node("Sigmoid", [at], ["exit/scores"]))
        return [*made, helper.make_node("MatMul", ["exit/scores", "exit/place"], [target])], constants


def kinds(row: Sequence[int], hidden: int, rows: int) -> list[Kind]:
    """Returns the kinds of heads with `hidden` units to compare for features of shape `row` and `rows` images, the cheapest first."""
    few, many = (1e-2, 1e-4) if hidden else (logistic.DECAY, 1e-3)
    return sorted((Kind(wanted, hidden, few if rows <= FEW else many) for wanted in pools.choices(row)), key=lambda kind: kind.macs(row, 1))


def variants(kind: Kind) -> list[Kind]:
    """Returns a kind with other weight decays."""
    return [dataclasses.replace(kind, decay=kind.decay * factor) for factor in (0.1, 5)]


def fit(kind: Kind, vectors: np.ndarray, wanted: np.ndarray, seed: int) -> Head:
    """Fits a head on vectors [N,width] and targets [N,labels].

    Vectors [N,copies,width] have several copies of each image, such as its mirror image.
    """
    if not kind.hidden:
        return Head(kind, (logistic.fit(vectors, wanted, kind.decay),))
    x, y, standard = logistic.prepared(vectors, wanted)
    copies = vectors.shape[1] if vectors.ndim == 3 else 1
    torch.manual_seed(seed)
    net = nn.Sequential(Linear(x.shape[1], kind.hidden), nn.ReLU(), Linear(kind.hidden, y.shape[1]))
    stochastic(net, kind.decay, x, y, copies, seed)
    first, last = (layer for layer in net.modules() if isinstance(layer, nn.Linear))
    layers = [standard.folded(first), (last.weight.detach().numpy(), last.bias.detach().numpy())]
    return Head(kind, tuple(layers))


def stochastic(net: nn.Module, decay: float, x: Tensor, y: Tensor, copies: int, seed: int) -> None:
    """Trains with Adam, and keeps the epoch with the smallest loss on a held-out eighth of the images."""
    generator = torch.Generator().manual_seed(seed)
    held = torch.from_numpy(folds.assign(y[::copies].numpy() > 0.5, 8, seed) == 0).repeat_interleave(copies)
    inner, outer = torch.nonzero(~held).squeeze(1), torch.nonzero(held).squeeze(1)
    few = len(x) <= FEW * copies
    size, epochs, patience = (512, 40, 8) if few else (512, 24, 6)
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    weight, total = balance(y), epochs * -(-len(inner) // size)
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: max(0.02, 1 - step / total))
    best, kept, waited = float("inf"), copy.deepcopy(net.state_dict()), 0
    for _ in range(epochs):
        for rows in inner[torch.randperm(len(inner), generator=generator)].split(size):
            optimizer.zero_grad(set_to_none=True)
            loss_of(net, decay, x[rows], y[rows], weight).backward()
            optimizer.step()
            rate.step()
        with torch.no_grad():
            judged = float(loss_of(net, 0.0, x[outer], y[outer], weight))
        waited += 1
        if judged < best:
            best, kept, waited = judged, copy.deepcopy(net.state_dict()), 0
        if waited >= patience:
            break
    net.load_state_dict(kept)


def passed(scores: np.ndarray, wanted: np.ndarray) -> float:
    """Returns the mean share of negatives that pass, over sensitivities and labels."""
    cold = ~wanted.any(axis=1)
    found = []
    for label, sensitivity in itertools.product(range(wanted.shape[1]), JUDGED_AT):
        hot = np.sort(scores[wanted[:, label], label])
        lost = int((1 - sensitivity) * len(hot) + 1e-9)
        found.append(float((scores[cold, label] >= hot[lost]).mean()))
    return float(np.mean(found))


def choose(row: Sequence[int], vectors: np.ndarray, wanted: np.ndarray, seed: int) -> tuple[Kind, float]:
    """Returns the kind of head that passes the fewest negatives out of fold, and their share.

    The cheapest of nearly equal kinds is chosen.
    """
    rows = folds.few(wanted, MOST_FOR_CHOICE, seed)
    vectors, wanted = vectors[rows], wanted[rows]
    fold = folds.assign(wanted, folds.COUNT, seed)
    used = folds.enough(wanted)
    judged = np.isin(fold, range(used))

    def tried(kind: Kind) -> tuple[Kind, float]:
        narrow = vectors[..., pools.columns(kind.pools, row)]
        scores = folds.out_of_fold(partial(fit, kind, seed=seed), narrow, wanted, fold, used)
        return kind, passed(scores[judged], wanted[judged])

    found = [tried(kind) for kind in kinds(row, 0, len(vectors))]
    good = [kind.pools for kind, _ in sorted(found, key=lambda pair: pair[1])[:WITH_HIDDEN]]
    found += [tried(kind) for kind in kinds(row, HIDDEN, len(vectors)) if kind.pools in good]
    best = min(share for _, share in found)
    chosen = next(pair for pair in found if pair[1] <= NEAR * best + 5e-4)
    return min([chosen, *(tried(kind) for kind in variants(chosen[0]))], key=lambda pair: pair[1])
