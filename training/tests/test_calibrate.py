"""Thresholds, sensitivity and specificity follow their definitions in docs/bundle.md."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dorfman_training import calibrate, manifest, report
from dorfman_training.calibrate import Sample
from dorfman_training.config import Config


def scores(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


@pytest.mark.parametrize("sensitivity, threshold", [(1.0, 0.25), (0.75, 0.25), (0.5, 0.5), (0.26, 0.5), (0.25, 0.75), (0.01, 0.75)])
def test_the_threshold_is_the_largest_that_keeps_the_sensitivity(sensitivity: float, threshold: float) -> None:
    positive = scores(0.25, 0.5, 0.75, 0.25)
    found = calibrate.threshold_for(positive, sensitivity)
    assert found == threshold
    assert np.mean(positive >= found) >= sensitivity
    above = positive[positive > found]
    assert not len(above) or np.mean(positive >= above.min()) < sensitivity, "a larger threshold would keep the sensitivity"


def test_rounding_of_the_share_does_not_add_a_group() -> None:
    # 0.95 of 20 groups is 19, although the product of the floats may differ from 19.
    assert calibrate.threshold_for(np.arange(20, dtype=np.float32), 0.95) == 1.0


def test_a_negative_group_at_the_threshold_is_a_false_positive() -> None:
    assert calibrate.specificity_at(scores(0.1, 0.2, 0.5, 0.5), 0.5) == 0.5
    assert calibrate.specificity_at(scores(0.1, 0.2), 0.5) == 1.0


def test_json_keeps_every_bit_of_a_threshold() -> None:
    value = np.float32(0.1) + np.finfo(np.float32).eps / 16
    written = json.loads(json.dumps(calibrate.exact(value)))
    assert np.float32(written) == value


def test_an_entry_has_rising_quantiles_from_the_least_to_the_largest(settings: Config) -> None:
    random = np.random.RandomState(0)
    sample = Sample(random.rand(500).astype(np.float32), random.rand(700).astype(np.float32) ** 3)
    entry = calibrate.entry("bag", 4, sample, settings.calibration)
    for values, source in [(entry.positive_scores, sample.positive), (entry.negative_scores, sample.negative)]:
        assert values == sorted(values) and len(values) == settings.calibration.quantiles
        assert values[0] == pytest.approx(source.min(), rel=1e-5) and values[-1] == pytest.approx(source.max(), rel=1e-5)
    assert (entry.positives, entry.negatives) == (500, 700)
    assert [point.sensitivity for point in entry.operating_points] == list(settings.calibration.sensitivities)
    specificities = [point.specificity for point in entry.operating_points]
    assert specificities == sorted(specificities, reverse=True), "specificity does not rise with sensitivity"


@pytest.mark.parametrize("positives, negatives", [(1, 20), (20, 1), (3, 7)])
def test_the_calibration_does_not_depend_on_the_share_of_positive_images(settings: Config, positives: int, negatives: int) -> None:
    random = np.random.RandomState(1)
    hot, cold = random.rand(300).astype(np.float32), random.rand(400).astype(np.float32) ** 2
    plain = calibrate.entry("bag", 4, Sample(hot, cold), settings.calibration)
    other = calibrate.entry("bag", 4, Sample(np.repeat(hot, positives), np.repeat(cold, negatives)), settings.calibration)
    assert other.operating_points == plain.operating_points
    near = [pytest.approx(values, abs=0.02) for values in (plain.positive_scores, plain.negative_scores)]
    assert [other.positive_scores, other.negative_scores] == near


def test_the_compact_manifest_is_equal_json() -> None:
    table = {"a": [1.5, 2e-05, -3], "b": [{"sensitivity": 0.9, "specificity": 1.0, "threshold": 0.5}], "c": "a [1, 2] text", "d": []}
    assert json.loads(manifest.dumps(table)) == table


def test_auc_is_the_probability_that_a_positive_scores_above_a_negative() -> None:
    assert report.auc(Sample(scores(0.9, 0.8), scores(0.1, 0.2, 0.3))) == 1.0
    assert report.auc(Sample(scores(0.5, 0.5), scores(0.5, 0.5))) == 0.5
    assert report.auc(Sample(scores(0.4, 0.9), scores(0.1, 0.6))) == 0.75
