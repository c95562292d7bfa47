"""Fits a head at every depth and the screen's head, and holds their scores for all images."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Callable

import numpy as np

from ..cut.errors import CutError
from ..cut.points import Point
from . import choose, depths, folds, heads, joint, pools, probe, screen
from .bundle import Bundle, individual_thresholds
from .choose import Gate, Rows
from .fitting import Fitted, Learner
from .options import Images, Options
from .screen import Screen, Source

ENOUGH = 299  # positives with none lost show a loss below 1 % at 95 % confidence
FEWEST = 10  # images that the network must flag, and must clear, so that its verdicts can be learnt
MOST_BYTES = 8 << 30  # limit of the pooled features, which are kept in memory
Say = Callable[[str], None]


@dataclass(frozen=True)
class Seen:
    """The images after the network has run on them."""

    data: Images
    pixels: np.ndarray  # of the judged images
    scores: np.ndarray  # individual scores [N,labels] of the judged images
    individual: np.ndarray  # the columns of the positive labels
    thresholds: np.ndarray  # of the individual test, per positive label
    judged: list[np.ndarray]  # pooled features per depth, [N,width], or [N,2,width] with mirror images
    learned: list[np.ndarray] | None


@dataclass(frozen=True)
class Heads:
    """A head per depth and the screen, with their scores for the images that set thresholds.

    These images are the judged images and, if `with_training`, the positive training images behind
    them. Training negatives are left out: heads that are fitted on four fifths of the images pass more
    negatives than the head that is written, so the expected cost would be too high.
    """

    seen: Seen
    points: list[Point]
    fits: list[Fitted]
    screen: Screen | None
    with_training: bool

    @property
    def rows(self) -> Rows:
        wanted, found = self.seen.data.judge.wanted, self.seen.individual >= self.seen.thresholds
        if self.with_training and self.seen.data.learn:
            more = self.seen.data.learn.wanted[self.trained]
            wanted, found = np.concatenate([wanted, more]), np.concatenate([found, np.ones_like(more)])
        return Rows(wanted, found)

    @property
    def trained(self) -> np.ndarray:
        """The rows of the training images that have a positive label."""
        learn = self.seen.data.learn
        return np.flatnonzero(learn.wanted.any(axis=1)) if learn else np.zeros(0, np.int64)

    def scores(self, found: Fitted | Screen) -> np.ndarray:
        """Returns the scores of all rows [N,positive labels], rounded as in joint.csv."""
        scores = [found.judged] + ([found.learned[self.trained]] if self.with_training and found.learned is not None else [])
        return joint.rounded_down(np.concatenate(scores))

    def gates(self) -> list[Gate]:
        """Returns the gates in the order in which an item meets them."""
        ahead = [Gate("screen", 0, self.screen.macs, self.scores(self.screen), forced=True)] if self.screen else []
        return [*ahead, *(Gate(point.name, point.macs, fit.head.macs, self.scores(fit)) for point, fit in zip(self.points, self.fits))]


def fit(bundle: Bundle, data: Images, options: Options, source: Source | None, say: Say) -> Heads:
    points = depths.candidates(bundle.network, bundle.merge, options.deeper)
    seen = look(bundle, points, limited(points, data, options, say), options, say)
    learn, judge = seen.data.learn, seen.data.judge
    with_training = learn is not None and uses_training(options, int(judge.wanted.sum(axis=0).min()))
    tell_proof(bundle, seen.data, with_training, say)
    learner = Learner(learn.wanted if learn else None, judge.wanted, with_training, options.seed)
    found = Heads(seen, points, [], None, with_training)
    for number, point in enumerate(points):
        head = learner.fit(point.row, seen.judged[number], seen.learned[number] if seen.learned else None)
        found.fits.append(head)
        say(f"depth {point.macs_share:.2%} ({point.name}): {head.head.kind}, {sketch(found, head)}")
    if source is None:
        return found
    labels = bundle.labels
    made = screen.fit(source, judge, learn, learner, labels.names, labels.columns, options.threads, mirrors(seen.data, options))
    say(f"screen ({made.macs / bundle.total:.2%} of the network): {made.about}, {sketch(found, made)}")
    return dataclasses.replace(found, screen=made)


def uses_training(options: Options, positives: int) -> bool:
    return options.rows == "all" or (options.rows == "auto" and positives < ENOUGH)


def limited(points: list[Point], data: Images, options: Options, say: Say) -> Images:
    """Draws as many training images as keep the pooled features of all images within MOST_BYTES."""
    width = 8 * sum(sum(pools.parts(point.row).values()) for point in points)
    left = MOST_BYTES // width - len(data.judge)
    if left <= 0:
        raise CutError(f"the pooled features of {len(data.judge)} images take {len(data.judge) * width / 1e9:.0f} GB: use fewer images (--images)")
    if data.learn is None or len(data.learn) <= left:
        return data
    say(f"{left} of {len(data.learn)} training images are used, to stay within {MOST_BYTES >> 30} GiB")
    return dataclasses.replace(data, learn=data.learn.subset(folds.few(data.learn.wanted, left, options.seed)))


def look(bundle: Bundle, points: list[Point], data: Images, options: Options, say: Say) -> Seen:
    """Runs the network on all images."""
    names = [point.name for point in points]
    more = f" and {len(data.learn)} images of the training split" if data.learn else ""
    say(f"{len(points)} depths of {len(data.judge)} images{more}")
    pixels = data.judge.pixels(bundle.input)
    *judged, scores = probe.run(bundle.network, names, True, pixels, bundle.input, options.threads)
    individual = scores[:, list(bundle.labels.columns)]
    thresholds = thresholds_of(bundle, individual, data.judge.wanted, options)
    if options.verdicts:
        wanted = individual >= thresholds
        tell_verdicts(bundle, wanted, say)
        data = dataclasses.replace(data, judge=dataclasses.replace(data.judge, wanted=wanted))
    mirrored = mirrors(data, options)
    learned = None
    if data.learn:
        learned = probe.copies(bundle.network, names, data.learn.pixels(bundle.input), bundle.input, options.threads, mirrored)
    elif mirrored:
        turned = probe.run(bundle.network, names, False, pixels[:, :, ::-1], bundle.input, options.threads)
        judged = [np.stack(pair, axis=1) for pair in zip(judged, turned)]
    return Seen(data, pixels, scores, individual, thresholds, judged, learned)


def mirrors(data: Images, options: Options) -> bool:
    """Returns whether heads are also fitted on mirror images. They help if there are few images."""
    return options.mirror and len(data.learn or data.judge) <= heads.FEW


def thresholds_of(bundle: Bundle, individual: np.ndarray, wanted: np.ndarray, options: Options) -> np.ndarray:
    """Returns the threshold of the individual test per positive label."""
    if options.verdict_threshold is not None:
        return np.full(len(bundle.labels.columns), options.verdict_threshold)
    if not bundle.standard:  # `cut --exits` calibrates later
        return choose.thresholds(individual, wanted, options.sensitivity)
    return individual_thresholds(bundle, options.sensitivity)


def tell_verdicts(bundle: Bundle, wanted: np.ndarray, say: Say) -> None:
    counts, cleared = wanted.sum(axis=0), int((~wanted.any(axis=1)).sum())
    if (counts < FEWEST).any() or cleared < FEWEST:
        raise CutError(
            f"--target verdicts: the network flags {', '.join(map(str, counts))} of {len(wanted)} images; "
            f"give images of which it flags at least {FEWEST} and clears at least {FEWEST}, or another --verdict-threshold"
        )
    say(f"the network's own verdicts: {', '.join(f'{count} {label}' for label, count in zip(bundle.labels.positive, counts))}")


def tell_proof(bundle: Bundle, data: Images, with_training: bool, say: Say) -> None:
    """Says what recall the positives can prove."""
    for label, name in enumerate(bundle.labels.positive):
        count = int(data.judge.wanted[:, label].sum())
        count += int(data.learn.wanted[:, label].sum()) if data.learn is not None and with_training else 0
        say(
            f"{name}: {count} positives set the thresholds. With none of them lost, the loss is below {choose.provable(count):.1%} "
            "at 95 % confidence (299 positives: 1 %; 149: 2 %; 43: 7 %)"
        )


def sketch(held: Heads, found: Fitted | Screen) -> str:
    """Returns the shares of negatives that a gate passes at several sensitivities."""
    scores, rows = held.scores(found), held.rows
    cold = scores[rows.negative]
    shares = [choose.passes(cold, choose.thresholds(scores, rows.wanted, at)).mean() for at in (0.98, 0.99, 0.995, 1.0)]
    return "negatives passed at 98, 99, 99.5, 100 %: " + ", ".join(f"{share:.1%}" for share in shares)
