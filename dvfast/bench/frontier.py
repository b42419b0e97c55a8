"""What a user chooses from: accuracy against speed, on annotated images.

Beside the shipped weights stand methods that do not learn, with their parameters tuned on images
of the folder ``train`` that lies beside the annotated ones, where there is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..baselines import BASELINES, Baseline, Stain, tune
from ..data import load_sample, pair_by_stem
from ..detection import Detector
from ..evaluation import evaluate_points
from ..scan import PRECISIONS, Precision, can_scan
from ..weights import available
from .contest import Contender, Contest, Entry, Settings

__all__ = ["ENTRIES"]

# A detection counts within so many pixels of a click: the mean radius of a nucleus in these images.
_RADIUS = 6.6
_STRIDES = (1, 2, 3, 4, 6, 8)
_WEIGHTS = "ihc"  # what their names begin with
_TIMED = 4  # images; F1 is that of all of them
_UNTRAINED = ("blob_log", "itcn")
_STAIN: Stain = "haematoxylin+dab"
_TUNED_ON = 10  # images

_Pairs = list[tuple[NDArray[Any], NDArray[Any]]]


def _facts(pairs: _Pairs, **facts: Any) -> dict[str, Any]:
    micro = evaluate_points(pairs, _RADIUS).micro
    scores = {"F1": micro.f1, "precision": micro.precision, "recall": micro.recall}
    return {**facts, **{name: f"{score:.4f}" for name, score in scores.items()}}


def _detectors(settings: Settings) -> list[tuple[str, Precision, int, Detector]]:
    choices = []
    for name in available():
        if not name.startswith(_WEIGHTS):
            continue
        detector = Detector.from_pretrained(name).to(settings.device)
        strides = [stride for stride in _STRIDES if stride % detector.net.output_stride == 0]
        for precision in PRECISIONS:
            if can_scan(detector.net, precision):
                choices += [(name, precision, stride, detector) for stride in strides]
    return choices


def _tuned(folder: Path, tested: Sequence[NDArray[Any]]) -> list[tuple[Baseline, dict[str, Any]]]:
    """Methods that do not learn, with the parameters that are best on some images of a folder."""
    samples = pair_by_stem(folder)
    few = [load_sample(sample) for sample in samples[:: max(1, len(samples) // _TUNED_ON)]]
    images = [image for image, _ in few][:_TUNED_ON]
    clicks = [points for _, points in few][:_TUNED_ON]
    same = [image for image in images if any(np.array_equal(image, other) for other in tested)]
    assert not same, f"{folder} has images that are tested, too"
    methods = []
    for name in _UNTRAINED:
        method = BASELINES[name].fit([], [], stain=_STAIN, nucleus_radius=_RADIUS)
        methods.append((method, tune(method, images, clicks, _RADIUS).parameters))
    return methods


def _frontier(settings: Settings) -> Contest:
    assert settings.data is not None
    samples = [load_sample(sample) for sample in pair_by_stem(settings.data)]
    few = [image for image, _ in samples[:: -(-len(samples) // _TIMED)]]
    contenders = []
    scales = set()

    def detect_few(detector: Detector, precision: Precision, stride: int) -> None:
        for image in few:
            detector.detect(image, precision=precision, stride=stride)

    for name, precision, stride, detector in _detectors(settings):
        pairs = [
            (detector.detect(image, precision=precision, stride=stride).points, clicks)
            for image, clicks in samples
        ]
        own = " (default)" if (precision, stride) == ("float32", detector.settings.stride) else ""
        contenders.append(
            Contender(
                f"dvfast {name}, {precision}, stride {stride}{own}",
                partial(detect_few, detector, precision, stride),
                True,
                facts=_facts(pairs),
            )
        )
        scales.add(detector.scale_of())

    def run_few(method: Baseline, parameters: dict[str, Any]) -> None:
        for image in few:
            method.detect(image, **parameters)

    data = Path(settings.data).resolve()  # of ".", too, there is a folder beside
    train = data.with_name("train")
    if train.is_dir() and train != data:
        for method, parameters in _tuned(train, [image for image, _ in samples]):
            pairs = [(method.detect(image, **parameters)[0], clicks) for image, clicks in samples]
            contenders.append(
                Contender(
                    f"{method.name}, tuned on {_TUNED_ON} training images",
                    partial(run_few, method, parameters),
                    facts=_facts(pairs),
                )
            )

    def verify() -> None:
        for contender in contenders:
            assert float(contender.facts["F1"]) > 0, f"{contender.name} finds nothing"

    pixels = sum(image.shape[0] * image.shape[1] for image in few)
    main = next((c.name for c in contenders if c.name.endswith("(default)")), None)
    return Contest(
        contenders,
        verify,
        pixels,
        main,
        notes=[
            f"{len(samples)} images, {sum(len(clicks) for _, clicks in samples):,} annotations; "
            f"F1 one-to-one, micro, within {_RADIUS} pixels.",
            "Mpx/s counts the pixels of the images as they came; at the network's scale there are "
            f"{' or '.join(f'{scale**2:g}' for scale in sorted(scales))} times as many.",
        ],
    )


ENTRIES = (
    Entry(
        "frontier",
        "frontier",
        "Accuracy against speed, from image to nuclei",
        _frontier,
        quick=False,
        needs="data",
        repeats=5,
    ),
)
