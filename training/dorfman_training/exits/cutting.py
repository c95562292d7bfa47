"""`cut --exits`: cuts a network where exits save the most, so that it saves without training."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Callable

from .. import pooling
from ..cut import bundle, dataset, points, stages, verify
from ..cut.arguments import described, opened, planned
from ..cut.calibration import Settings
from ..cut.chain import Chain, Whole
from ..cut.errors import CutError
from . import build, choose, pictures
from .choose import Plan
from .learn import Heads
from .options import Images, Options

VERDICT = 0.5  # score from which the network's own verdict is positive


def first_point(arguments: argparse.Namespace) -> str:
    """Returns the first listed cut point. The merge moves from there behind the last exit."""
    _, network, _ = opened(arguments)
    listed = points.worth_listing(points.find(network))
    if not listed:
        raise CutError("the network has no cut point: no single tensor separates the image from the scores")
    return listed[0].name


def run(arguments: argparse.Namespace, settings: Settings, say: Callable[[str], None]) -> None:
    verdicts = arguments.target == "verdicts"
    given = bool(arguments.at)
    arguments.at = arguments.at or [first_point(arguments)]
    plan, about = planned(arguments), described(arguments)
    found = dataset.find(arguments.data, classes=not verdicts)
    if not verdicts:
        dataset.check_classes(found, [kind for kinds in about.positive.values() for kind in kinds])
    found = dataset.sample(found, arguments.images, arguments.seed)
    models = stages.build(plan.network, plan.cuts, plan.activation)
    if stages.labels(plan.network) != len(about.labels):
        raise CutError(f"--labels has {len(about.labels)} names, but the model has {stages.labels(plan.network)} scores")
    chain = Chain(models, plan.fan_in, plan.threads)
    bundle.tell(verify.check(Whole(plan.original, plan.activation, plan.threads), chain, bundle.some(found, plan.input)), say)
    threshold = arguments.verdict_threshold
    options = Options(
        arguments.most, arguments.loss, deeper=not given, sensitivity=arguments.verdict_sensitivity, verdicts=verdicts,
        verdict_threshold=VERDICT if verdicts and threshold is None else threshold, groups=settings.groups, pooled=settings,
        seed=arguments.seed, threads=arguments.threads,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        bundle.write(Path(scratch), plan, about, models, [])
        judge = pictures.of_files(found, list(about.positive.values()), say)
        result, heads = build.add(Path(scratch), arguments.out, Images(judge), options, None, say)
    say(pooling.text(arguments.out))
    say(f"wrote {arguments.out}; the thresholds are valid for images like those of --data that the network was not trained on")
    say(verdict(result, heads, options))


def verdict(plan: Plan, heads: Heads, options: Options) -> str:
    """Returns a one-line message about what the exits save."""
    if not plan.picked:
        return "EXITS SAVE NOTHING HERE: no head clears enough images early. Give more images of the positive labels, or a higher --loss"
    hot = int(heads.seen.data.judge.wanted.any(axis=1).sum())
    what = "that the network itself flags" if options.verdicts else f"that it finds at a sensitivity of {options.sensitivity:.0%}"
    return (
        f"exits, then individual tests: {plan.cost:.0%} of the multiply-adds of individual tests for a negative, with {plan.loss:.1%} "
        f"of the positives {what} lost out of fold ({hot} positives; expect about {choose.expected(plan, heads.rows):.1%} on new images)"
    )
