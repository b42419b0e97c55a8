"""What a GPU has to answer as the CPU does, on any stream and in a graph; for gpu_check.py."""

from __future__ import annotations

import copy
import itertools
import warnings
from typing import Any

import torch
from scan_on_device import head_by, heads

import dvfast
from dvfast._engine import engine_of
from dvfast.detection.peaks import density_peaks


def compare_with_cpu(device: str, *, small: bool = False) -> dict[str, bool]:
    """Whether float32 results are the CPU's to the bit; integers and sums have to be."""
    side = 33 if small else 517
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(2, 6, side, side + 4, generator=generator)
    nuclei = [side * torch.rand(n, 2, generator=generator) for n in (0, 150)]
    size = (side, side + 4)

    def everything(where: str) -> dict[str, Any]:
        x = logits.to(where).requires_grad_()
        target = dvfast.vote_targets([points.to(where) for points in nuclei], size, 2)
        loss = dvfast.voting_loss(x, target)
        votes = dvfast.hybrid_activation(x.detach()).requires_grad_()
        density = dvfast.vote_density(votes, size, sigma=2.0, window=13)
        parzen = dvfast.parzen_density(votes, size, radius=9.0, area="disc")
        weights = torch.linspace(0, 1, side + 4, device=where)
        peaks, scores = dvfast.find_peaks(density[1].detach(), min_distance=3)
        settings = dvfast.DetectionSettings(sigma=2.0, window=13, min_distance=3)
        at_once = density_peaks(votes.detach()[1:], size, settings)
        return {
            "vote_targets": target,
            "voting_loss": loss,
            "voting_loss gradient": torch.autograd.grad(loss, x)[0],
            "hybrid_activation": votes,
            "vote_map": dvfast.vote_map(votes, size),
            "vote_map, bilinear": dvfast.vote_map(votes, size, interpolation="bilinear"),
            "vote_density": density,
            "vote_density gradient": torch.autograd.grad((density * weights).sum(), votes)[0],
            "parzen_density": parzen,
            "parzen_density gradient": torch.autograd.grad((parzen * weights).sum(), votes)[0],
            "find_peaks": peaks,
            "find_peaks scores": scores,
            "density_peaks": at_once.points,
            "density_peaks density": at_once.density,
        }

    torch.manual_seed(0)
    nets = {
        "RGB": dvfast.nn.DeepVotingNet(hidden=(40,) if small else (1024,)),
        "grey": dvfast.nn.DeepVotingNet(5, 1, (20, 36, 48), hidden=(48,)),
    }
    images = {"RGB": torch.rand(3, side // 4, side // 4), "grey": torch.rand(1, 40, 61)}

    def scans(where: str) -> dict[str, Any]:
        return {
            f"scan, {name}, {mode}, stride {stride}": dvfast.scan(
                net.to(where), images[name].to(where), mode=mode, stride=stride
            )
            for name, net in nets.items()
            for mode, stride in (("fast", 1), ("fast", 2), ("fast", 3), ("fast", 4), ("sliding", 4))
        }

    cpu = {**everything("cpu"), **scans("cpu")}
    other = {**everything(device), **scans(device)}
    equal = {name: torch.equal(value, other[name].cpu()) for name, value in cpu.items()}
    must = ["vote_map", "vote_map, bilinear", "parzen_density", "find_peaks", "density_peaks"]
    must += [name for name in equal if name.startswith("scan")]
    broken = [name for name in must if not equal[name]]
    if broken:
        raise RuntimeError(f"not the CPU's bits: {broken}; all: {equal}")
    return equal


def streams_and_graphs(device: str) -> dict[str, bool]:
    votes = dvfast.hybrid_activation(3 * torch.randn(1, 6, 200, 200, device=device))
    expected = dvfast.vote_density(votes, (200, 200))
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        on_side = dvfast.vote_density(votes, (200, 200))
    side.synchronize()

    graph = torch.cuda.CUDAGraph()
    captured = votes.clone()
    dvfast.find_first_peaks(expected[0], 40_000)
    density_peaks(captured, (200, 200), dvfast.DetectionSettings(), 40_000)
    with torch.cuda.graph(graph):
        result = dvfast.vote_density(captured, (200, 200))
        peaks = dvfast.find_first_peaks(result[0], 40_000)
        at_once = density_peaks(captured, (200, 200), dvfast.DetectionSettings(), 40_000)
    captured.copy_(votes.flip(2))
    graph.replay()
    torch.cuda.synchronize()
    again = dvfast.vote_density(votes.flip(2), (200, 200))
    points = dvfast.find_peaks(again[0])[0]
    verdicts = {
        "side stream": torch.equal(on_side, expected),
        "graph": torch.equal(result, again),
        "peaks in a graph": torch.equal(peaks[0][: int(peaks[2])], points),
        "density and peaks in a graph": torch.equal(at_once.density, again[0])
        and torch.equal(at_once.points[: int(at_once.total)], points),
    }
    if not all(verdicts.values()):
        raise RuntimeError(str(verdicts))
    return verdicts


def deviations_from_float64(device: str) -> dict[str, dict[str, float]]:
    """Of the offsets of the default network, as shares of their root mean square."""
    torch.manual_seed(0)
    net = dvfast.nn.DeepVotingNet().eval()
    image = torch.rand(3, 48, 48)
    offsets = torch.tensor([1, 2, 4, 5])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the scan engine cannot run")
        expected = dvfast.scan(copy.deepcopy(net).double(), image.double())[0, offsets]
    size = float(expected.square().mean().sqrt())
    found = {}
    engine = engine_of(net.to(device))
    for precision in ("exact", "float32", "tf32", "bfloat16"):
        if device == "cpu" and precision in ("tf32", "bfloat16"):
            continue
        for name, warpgroups in heads(engine, precision).items():
            with head_by(warpgroups):
                votes = dvfast.scan(net, image.to(device), precision=precision)
            error = (votes[0].cpu()[offsets].double() - expected) / size
            found[name] = {
                "root_mean_square": float(error.square().mean().sqrt()),
                "mean": float(error.mean()),
                "largest": float(error.abs().max()),
            }
    return found


def taps_by_warpgroups(device: str) -> dict[str, list[str]]:
    """Taps that the head by warpgroups takes from a wrong place, by precision and layout.

    (0, 0) alone wrong: the fields of the descriptors. Those right of the first column: matrices
    that begin at a multiple of 16 bytes and not of 128.
    """
    wrong: dict[str, list[str]] = {}
    torch.manual_seed(0)
    net = dvfast.nn.DeepVotingNet(hidden=(16,)).to(device)
    first = net.head[0]
    if device == "cpu" or not engine_of(net).has_warpgroups:
        return wrong
    with torch.no_grad():
        first.bias.zero_()
        # Of voters a dilation apart, and (on 132 multiprocessors) next to one another in one axis.
        for side in (32, 400):
            image = torch.rand(3, side, side, device=device)
            for y, x in itertools.product(range(5), repeat=2):
                first.weight.zero_()
                first.weight[:, :, y, x] = torch.randn(16, 32, device=device)
                for precision in ("float32", "tf32", "bfloat16"):
                    with head_by(False):
                        expected = dvfast.scan(net, image, precision=precision)
                    with head_by(True):
                        votes = dvfast.scan(net, image, precision=precision)
                    if not torch.allclose(votes, expected, rtol=1e-3, atol=1e-3):
                        wrong.setdefault(f"{precision}, {side}", []).append(f"{y}, {x}")
    return wrong


def scans_by_matrices(device: str) -> None:
    """The kernels that `compare_with_cpu` leaves out, since they have no bits of the CPU's."""
    torch.manual_seed(0)
    net = dvfast.nn.DeepVotingNet(hidden=(40,)).to(device)
    image = torch.rand(3, 30, 33, device=device)
    for stride in (1, 3):
        exact = dvfast.scan(net, image, stride=stride)
        for precision in ("float32", "tf32", "bfloat16"):
            for warpgroups in heads(engine_of(net), precision).values():
                with head_by(warpgroups):
                    votes = dvfast.scan(net, image, stride=stride, precision=precision)
                torch.testing.assert_close(votes, exact, rtol=0, atol=0.5)
    density = dvfast.vote_density(exact, (30, 33), stride=3)
    dvfast.find_first_peaks(density[0], 100)
