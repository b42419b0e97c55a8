"""Contests of the scan: the paper's table, the dense pass, image to points, cost curves."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any

import torch
from skimage import data
from torch import Tensor

from .. import functional
from .._padding import pad_image
from ..data import image_to_tensor, resample
from ..detection import DetectionSettings, Detector
from ..nn import DeepVotingNet
from ..nn.deep_voting_net import PATCH_SIZE
from ..scan import PRECISIONS, Precision, can_scan, scan
from . import peers
from .contest import Contender, Contest, Entry, Settings, Unit
from .voting import same_places

__all__ = ["ENTRIES", "TOLERANCE", "agree", "operations", "points_in_torch"]

_SIZE = 400
# Of a real image so much is enlarged to the scale of the weights and searched; its stain is fainter
# than what they learnt from, and asks for a lower threshold than theirs.
_TISSUE, _ENLARGED, _THRESHOLD = 200, 2, 0.5
_STRIP = 16  # rows of votes that the sliding window gets; its time is in proportion
# How far from the exact votes, at most: the network has random weights, its votes are around 1.
TOLERANCE = {"exact": 1e-5, "float32": 1e-4, "tf32": 3e-2, "bfloat16": 0.1}
# Seconds for 400 x 400 pixels in the paper: sliding window, the same at stride 3, and fast.
_PAPER = {"stride 1": 22.0, "stride 3": 5.5, "fast": 31.0}
_OF_2015 = "The paper's times are those of another machine, of another decade."


def operations(net: DeepVotingNet, size: int) -> float:
    """Of the dense pass at stride 1: two for every product of the convolutions' valid outputs."""
    padded = size + PATCH_SIZE - 1
    products = 0
    for layer, reach in ((net.conv1, 5), (net.conv2, 12), (net.conv3, 22)):
        products += (padded - reach) ** 2 * layer.weight.numel()
    products += size**2 * sum(
        weight.numel() for weight in net.head.parameters() if weight.dim() > 1
    )
    return 2.0 * products


def _network(settings: Settings, **changes: Any) -> DeepVotingNet:
    torch.manual_seed(0)
    return DeepVotingNet(**changes).eval().to(settings.device)


def _image(settings: Settings, size: int) -> Tensor:
    generator = torch.Generator().manual_seed(size)
    return torch.rand(3, size, size, generator=generator).to(settings.device)


def _padded(image: Tensor) -> Tensor:
    return pad_image(image, PATCH_SIZE // 2)[None]


def _of(precision: Precision) -> str:
    return f"dvfast, {precision}"


def agree(runs: Mapping[str, Callable[[], Tensor]], expected: Tensor, tolerance: float) -> None:
    """All that the runs give, be it the first rows only, is what is expected."""
    for name, run in runs.items():
        found = run().float()
        try:
            torch.testing.assert_close(
                found, expected[:, :, : found.shape[2]], rtol=0, atol=tolerance
            )
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error


def _torch_forms(
    net: DeepVotingNet, padded: Tensor, stride: int, settings: Settings
) -> dict[str, Callable[[], Tensor]]:
    """The dense pass in PyTorch, in the forms that are worth trying."""
    bands = (8,) if settings.quick and stride == 1 else (8, 16)
    forms: dict[str, Callable[[], Tensor]] = {
        f"PyTorch, channels_last, head in bands of {band}": partial(
            peers.dense_pass, net, padded, stride, band
        )
        for band in bands
    }
    if settings.quick:
        return forms
    compiled = torch.compile(peers.dense_pass, dynamic=False)
    for band in bands:
        name = f"PyTorch, torch.compile, head in bands of {band}"
        forms[name] = partial(compiled, net, padded, stride, band)
    if stride == 1:
        forms["PyTorch, NCHW, head at once"] = partial(
            peers.dense_pass, net, padded, 1, None, channels_last=False
        )
        forms["PyTorch, shift and stitch"] = partial(peers.shift_and_stitch, net, padded, 8)
    return forms


def _dense(
    stride: int, precisions: Sequence[Precision], half: bool, sliding: bool, settings: Settings
) -> Contest:
    """The dense pass and its peers; `half` for peers in bfloat16."""
    net, image = _network(settings), _image(settings, _SIZE)
    padded = _padded(image)
    ours = {
        _of(precision): partial(scan, net, image, precision=precision, stride=stride)
        for precision in precisions
        if can_scan(net, precision)
    }
    if not ours:
        raise LookupError("this CPU has no matrix unit for bfloat16")
    of_peers = copy.deepcopy(net).bfloat16() if half else net
    theirs = _torch_forms(of_peers, padded.bfloat16() if half else padded, stride, settings)
    strips: dict[str, tuple[int, Callable[[], Tensor]]] = {}
    if sliding:
        for step in sorted({stride, 3 if stride == 1 else stride}):
            strip = padded[:, :, : (_STRIP - 1) * step + PATCH_SIZE]
            name = "PyTorch, sliding window" + (f", stride {step}" if step > 1 else "")
            strips[name] = (step, partial(peers.sliding_window, net, strip, step))

    @torch.no_grad()
    def verify() -> None:
        expected = scan(net, image, stride=stride, precision="exact")
        for precision in precisions:
            if _of(precision) in ours:
                run = {_of(precision): ours[_of(precision)]}
                agree(run, expected, TOLERANCE[precision])
        agree(theirs, expected, TOLERANCE["bfloat16" if half else "float32"])
        for name, (step, run_strip) in strips.items():
            votes = scan(net, image, stride=step, precision="exact")
            agree({name: run_strip}, votes, TOLERANCE["float32"])

    work = operations(net, _SIZE) if stride == 1 else 0.0
    table_one = stride == 1 and sliding  # the paper's own comparison of speeds
    units: dict[str, Unit] = {"exact": "vector", "bfloat16": "matrix"}
    contenders = []
    for precision in precisions:
        if _of(precision) in ours:
            unit = units.get(precision) if work else None
            quoted = _PAPER["fast"] if table_one else None
            contenders.append(
                Contender(
                    _of(precision), ours[_of(precision)], True, unit=unit, work=work, quoted=quoted
                )
            )
    contenders += [Contender(name, torch.no_grad()(run)) for name, run in theirs.items()]
    for name, (step, run) in strips.items():
        part = _STRIP / -(-_SIZE // step)
        quoted = _PAPER[f"stride {step}"] if table_one else None
        contenders.append(Contender(name, torch.no_grad()(run), part=part, quoted=quoted))
    main = next((name for name in (_of("float32"), _of("bfloat16")) if name in ours), None)
    return Contest(
        contenders,
        verify,
        _SIZE**2,
        main,
        ratios=[(name, fast) for name in strips for fast in ours],
        notes=[_OF_2015] if table_one else [],
    )


def points_in_torch(votes: Tensor, size: tuple[int, int], how: DetectionSettings) -> Tensor:
    """Nuclei of votes by the best of PyTorch's ways; the threshold is one of the density."""
    grid = torch.zeros(1, votes.shape[1], *size, device=votes.device)
    grid[:, :, :: how.stride, :: how.stride] = votes
    density = peers.density_by_index_add(grid, how.sigma, how.window) * how.stride**2
    return peers.peaks_by_pooling(density[0], how.min_distance, how.threshold)


def _image_to_points(settings: Settings) -> Contest:
    """From pixels to nuclei with shipped weights, at their own stride and at stride 1."""
    detector = Detector.from_pretrained("ihc-patch").to(settings.device)
    net = detector.net
    assert isinstance(net, DeepVotingNet)
    detector.pixel_size = None  # the image has the network's scale
    own = detector.settings
    tissue = image_to_tensor(data.immunohistochemistry()[:_TISSUE, :_TISSUE], 3)
    tensor = resample(tissue, _ENLARGED).clamp(0, 1).to(settings.device)
    image = tensor.movedim(0, 2).cpu().numpy()
    padded = _padded(tensor)
    size = (tensor.shape[1], tensor.shape[2])

    def in_torch() -> Tensor:
        votes = peers.dense_pass(net, padded, own.stride, 16)
        return points_in_torch(votes, size, dataclasses.replace(own, threshold=_THRESHOLD))

    def ours(stride: int, precision: Precision = "float32") -> Tensor:
        result = detector.detect(image, stride=stride, precision=precision, threshold=_THRESHOLD)
        return torch.from_numpy(result.points)

    def votes_to_points() -> None:
        functional.find_peaks(
            functional.vote_density(votes, size, sigma=own.sigma, window=own.window)[0]
        )

    votes = scan(detector.net, tensor, precision="float32")
    half = can_scan(detector.net, "bfloat16")

    @torch.no_grad()
    def verify() -> None:
        expected = scan(detector.net, tensor, stride=own.stride, precision="exact")
        agree(
            {"PyTorch": lambda: peers.dense_pass(net, padded, own.stride, 16)},
            expected,
            TOLERANCE["float32"],
        )
        assert not own.relative, "the peer's threshold is one of the density"
        nuclei = ours(own.stride, "exact")
        assert len(nuclei)
        torch.testing.assert_close(ours(own.stride), nuclei, rtol=0, atol=0)
        if half:
            same_places(ours(own.stride, "bfloat16"), nuclei)
        same_places(in_torch(), nuclei)

    name = f"dvfast, stride {own.stride} (the weights' own)"
    contenders = [
        Contender(name, partial(ours, own.stride), True),
        Contender("dvfast, stride 1", partial(ours, 1), True),
        Contender("dvfast, stride 1, exact", partial(ours, 1, "exact"), True),
        Contender(
            f"PyTorch, stride {own.stride}, index_add_, max_pool2d", torch.no_grad()(in_torch)
        ),
        Contender("of stride 1: voting, density and peaks", votes_to_points, True),
    ]
    if half:
        run = partial(ours, own.stride, "bfloat16")
        contenders.insert(1, Contender(f"dvfast, stride {own.stride}, bfloat16", run, True))
    return Contest(contenders, verify, size[0] * size[1])


# --- Curves ---------------------------------------------------------------------------------------


_Points = list[tuple[str, float, Callable[[], Tensor]]]  # line, x, what is timed


def _curve(points: Callable[[Settings], _Points], settings: Settings) -> Contest:
    """Cost along an axis. The contests above have shown that these runs are right."""
    contenders = [
        Contender(f"{line}, {x:g}", run, True, line=line, x=x) for line, x, run in points(settings)
    ]

    def verify() -> None:
        for contender in contenders[:1]:
            assert contender.run().isfinite().all()

    return Contest(contenders, verify)


def _sizes(settings: Settings) -> _Points:
    net = _network(settings)
    image = cache(partial(_image, settings))  # made by the first run, which is for warming up

    def run(size: int, **how: Any) -> Tensor:
        return scan(net, image(size), **how)

    lines: list[tuple[Precision, int, Sequence[int]]] = [
        ("exact", 1, (100, 200, 400, 800)),
        ("float32", 1, (100, 200, 400, 800, 1600)),
        ("float32", 4, (100, 200, 400, 800, 1600, 4000, 8000)),
    ]
    return [
        (
            f"{precision}, stride {stride}",
            size**2,
            partial(run, size, precision=precision, stride=stride),
        )
        for precision, stride, sizes in lines
        for size in sizes
    ]


def _strides(settings: Settings) -> _Points:
    net, image = _network(settings), _image(settings, _SIZE)
    precisions: list[Precision] = [p for p in PRECISIONS if can_scan(net, p)]
    return [
        (precision, stride, partial(scan, net, image, precision=precision, stride=stride))
        for precision in precisions
        for stride in range(1, 9)
    ]


def _networks(name: str, values: Sequence[Any], settings: Settings) -> _Points:
    """Over one setting of the network; a width is that of its only hidden layer."""
    image = _image(settings, _SIZE)
    points: _Points = []
    for value in values:
        net = _network(settings, **{name: (value,) if name == "hidden" else value})
        run = partial(scan, net, image, precision="float32", stride=4)
        points.append(("float32, stride 4", value, run))
    return points


def _threads(settings: Settings) -> _Points:
    net, image = _network(settings), _image(settings, _SIZE)

    def run(threads: int, precision: Precision) -> Tensor:
        torch.set_num_threads(threads)
        try:
            return scan(net, image, precision=precision)
        finally:
            torch.set_num_threads(settings.threads)

    counts = sorted({*(2**i for i in range(settings.threads.bit_length())), settings.threads})
    precisions: list[Precision] = ["exact", "float32"]
    return [
        (precision, threads, partial(run, threads, precision))
        for precision in precisions
        for threads in counts
    ]


_WIDTHS = (64, 128, 256, 512, 1024, 2048)
_WHERE = f"{_SIZE} × {_SIZE} RGB pixels, default network"
ENTRIES = (
    Entry(
        "scan",
        "scanning",
        f"Votes of every pixel, {_WHERE}",
        partial(_dense, 1, ("exact", "float32", "tf32"), False, True),
    ),
    Entry(
        "scan-bfloat16",
        "scanning",
        f"Votes of every pixel in bfloat16, {_WHERE}",
        partial(_dense, 1, ("bfloat16",), True, False),
    ),
    Entry(
        "scan-stride-3",
        "scanning",
        f"Votes of every third pixel, {_WHERE}",
        partial(_dense, 3, ("exact",), False, True),
        quick=False,
    ),
    Entry(
        "scan-stride-4",
        "scanning",
        f"Votes of every fourth pixel, {_WHERE}",
        partial(_dense, 4, ("exact", "float32", "tf32"), False, True),
        quick=False,
    ),
    Entry(
        "scan-stride-4-bfloat16",
        "scanning",
        f"Votes of every fourth pixel in bfloat16, {_WHERE}",
        partial(_dense, 4, ("bfloat16",), True, False),
        quick=False,
    ),
    Entry(
        "image-to-points",
        "scanning",
        "From image to nuclei, 400 × 400 RGB pixels, shipped weights",
        _image_to_points,
    ),
    Entry("sizes", "curves", "Seconds against pixels, default network", partial(_curve, _sizes),
          False, axis="pixels", repeats=3),
    Entry("strides", "curves", f"Seconds against stride, {_WHERE}", partial(_curve, _strides),
          False, axis="stride", repeats=3),
    Entry("votes", "curves", f"Seconds against votes per pixel k, {_WHERE}",
          partial(_curve, partial(_networks, "num_votes", range(1, 9))), False, axis="k",
          repeats=3),
    Entry("widths", "curves", f"Seconds against hidden units, {_WHERE}",
          partial(_curve, partial(_networks, "hidden", _WIDTHS)), False, axis="hidden units",
          repeats=3),
    Entry("threads", "curves", f"Seconds against threads, {_WHERE}",
          partial(_curve, _threads), False, axis="threads", repeats=3),
)  # fmt: skip
