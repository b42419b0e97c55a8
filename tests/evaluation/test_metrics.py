from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dvfast.errors import InputError
from dvfast.evaluation.metrics import evaluate_points

# Image A: 2 of 4 annotations found at distances 1 and 3, one detection too many.
A = ([(0, 1), (20, 23), (90, 90)], [(0, 0), (20, 20), (40, 40), (60, 60)])
# Image B: its one annotation found at distance 2.
B = ([(5, 7)], [(5, 5)])
NOTHING: Any = ([], [])
MISSED: Any = ([], [(1, 1)])
INVENTED: Any = ([(1, 1)], [])


def test_figures_by_hand() -> None:
    e = evaluate_points([A, B], radius=5, names=["a", "b"])
    a, b = e.images
    assert (a.name, a.detections, a.annotations) == ("a", 3, 4)
    assert (a.true_positives, a.false_positives, a.found, a.false_negatives) == (2, 1, 2, 2)
    assert a.scores.precision == pytest.approx(2 / 3)
    assert a.scores.recall == pytest.approx(1 / 2)
    assert a.scores.f1 == pytest.approx(4 / 7)
    assert (a.distance.mean, a.distance.std) == (2, 1)
    assert (b.scores.precision, b.scores.recall, b.scores.f1) == (1, 1, 1)
    assert e.micro.precision == pytest.approx(3 / 4)
    assert e.micro.recall == pytest.approx(3 / 5)
    assert e.micro.f1 == pytest.approx(2 * 3 / (2 * 3 + 1 + 2))
    assert e.macro.precision == pytest.approx((2 / 3 + 1) / 2)
    assert e.macro.recall == pytest.approx(3 / 4)
    assert e.macro.f1 == pytest.approx((4 / 7 + 1) / 2)
    # Distances 1, 3, 2 pooled; |4 - 3|, |1 - 1|; |4 - 2|, |1 - 1|.
    assert e.distance.mean == pytest.approx(2)
    assert e.distance.std == pytest.approx(math.sqrt(2 / 3))
    # (0, 1), (0, 3) and (0, 2), from annotations to detections.
    assert e.displacement == pytest.approx((0, 2))
    assert (e.count_error.mean, e.count_error.std) == (0.5, 0.5)
    assert (e.missed.mean, e.missed.std) == (1, 1)
    assert (e.total("true_positives"), e.total("annotations")) == (3, 5)


def test_macro_f1_is_not_the_harmonic_mean_of_macro_p_and_r() -> None:
    e = evaluate_points([([(0, 0)], [(0, 0), (50, 50)]), ([(0, 0), (50, 50)], [(0, 0)])], 1)
    assert (e.macro.precision, e.macro.recall) == (0.75, 0.75)
    assert e.macro.f1 == pytest.approx(2 / 3)


def test_literal_mode_counts_hits_and_annotations_apart() -> None:
    pair = ([(0, 0), (0, 1), (0, 2), (0, 3), (30, 30)], [(0, 1), (60, 60)])
    literal = evaluate_points([pair], 2, "literal")
    assert literal.micro.precision == 4 / 5
    assert literal.micro.recall == 1 / 2
    assert literal.micro.f1 == pytest.approx(2 * 0.8 * 0.5 / 1.3)
    assert literal.missed.mean == 2
    strict = evaluate_points([pair], 2)
    assert (strict.micro.precision, strict.micro.recall) == (1 / 5, 1 / 2)


@pytest.mark.parametrize(("pair", "expected"), [(NOTHING, 1.0), (MISSED, 0.0), (INVENTED, 0.0)])
@pytest.mark.parametrize("mode", ["one-to-one", "literal"])
def test_zero_over_zero(pair: Any, expected: float, mode: Any) -> None:
    e = evaluate_points([pair], 3, mode)
    for scores in (e.micro, e.macro, e.images[0].scores):
        assert (scores.precision, scores.recall, scores.f1) == (expected,) * 3
    assert math.isnan(e.distance.mean)
    assert math.isnan(e.distance.std)
    assert all(map(math.isnan, e.displacement))
    assert e.to_dict()["displacement"] == [None, None]


@pytest.mark.parametrize("mode", ["one-to-one", "literal"])
def test_another_origin_shows_in_the_displacement(mode: Any) -> None:
    centres = np.random.default_rng(0).uniform(0, 200, (50, 2))
    e = evaluate_points([(centres, centres + 0.5)], 0.8, mode)
    assert e.displacement == pytest.approx((-0.5, -0.5))


def test_empty_image_raises_the_macro_scores_only() -> None:
    with_empty, without = evaluate_points([A, NOTHING], 5), evaluate_points([A], 5)
    assert with_empty.micro == without.micro
    assert with_empty.macro.f1 == pytest.approx((without.macro.f1 + 1) / 2)


POINTS = hnp.arrays(np.float64, st.tuples(st.integers(0, 6), st.just(2)), elements=st.floats(0, 20))


@given(st.lists(st.tuples(POINTS, POINTS), min_size=1, max_size=4), st.sampled_from([1.0, 5.0]))
def test_relations_that_always_hold(pairs: Any, radius: float) -> None:
    e = evaluate_points(pairs, radius)
    tp, fp, fn = (e.total(c) for c in ("true_positives", "false_positives", "false_negatives"))
    if tp + fp + fn:
        assert e.micro.f1 == pytest.approx(2 * tp / (2 * tp + fp + fn))
    for scores in (e.micro, e.macro, *(image.scores for image in e.images)):
        assert all(0 <= s <= 1 for s in (scores.precision, scores.recall, scores.f1))
    literal = evaluate_points(pairs, radius, "literal")
    assert literal.total("true_positives") >= tp
    assert literal.total("found") >= e.total("found")
    swapped = evaluate_points([(a, d) for d, a in pairs], radius)
    assert swapped.micro.f1 == pytest.approx(e.micro.f1)
    assert e.missed.mean >= 0
    perfect = evaluate_points([(a, a) for _, a in pairs], radius)
    assert (perfect.micro.f1, perfect.macro.f1, perfect.count_error.mean) == (1, 1, 0)


def test_to_dict_is_json() -> None:
    e = evaluate_points([A, NOTHING], 5, names=["a", "none"])
    document = json.loads(json.dumps(e.to_dict(), allow_nan=False))
    assert document["radius"] == 5
    assert document["mode"] == "one-to-one"
    assert document["counts"]["true_positives"] == 2
    assert document["micro"]["f1"] == pytest.approx(4 / 7)
    assert document["images"][0]["scores"]["recall"] == 0.5
    assert document["images"][1]["name"] == "none"
    assert document["images"][1]["distance"] == {"mean": None, "std": None}


def test_csv_has_a_row_per_image(tmp_path: Path) -> None:
    evaluate_points([A, NOTHING], 5, names=["a", "none, really"]).write_csv(tmp_path / "a.csv")
    first, second = csv.DictReader((tmp_path / "a.csv").read_text().splitlines())
    assert (first["image"], first["detections"], first["false_negatives"]) == ("a", "3", "2")
    assert (first["recall"], first["distance"]) == ("0.5", "2.0")
    assert (second["image"], second["f1"], second["distance"]) == ("none, really", "1.0", "")


def test_table() -> None:
    e = evaluate_points([A, B], 5)
    text = e.table()
    assert str(e) == text
    assert "2 images, 5 annotations, 4 detections; one-to-one matching within 5 px" in text
    for line in (
        "micro      0.7500  0.6000 0.6667",
        "macro      0.8333  0.7500 0.7857",
        "distance of true positives, px  2.000 ± 0.816",
        "mean displacement (y, x), px +0.000, +2.000",
        "|annotations - detections| 0.500 ± 0.500",
        "|annotations - true positives| 1.000 ± 1.000",
    ):
        assert " ".join(line.split()) in " ".join(text.split())


@pytest.mark.parametrize(
    ("arguments", "names", "message"),
    [
        (([], 5), None, "pairs: came empty, expected at least one image"),
        (([A, B], 5), ["a"], "names: came as 1 for 2 images"),
        (([A, ([[1, 2, 3]], [])], 5), ["a", "b"], "image b: detections: came with shape"),
        (([A], -1), None, "image 0: radius: came as -1"),
    ],
)
def test_refusals(arguments: Any, names: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        evaluate_points(*arguments, names=names)
