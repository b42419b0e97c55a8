"""The contests themselves, at a size that says nothing: right, and aware of what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from support import one_thread

from dvfast.bench import peers, scanning, unet, voting
from dvfast.bench.contest import Entry, Settings
from dvfast.bench.suite import ENTRIES

__all__ = ["one_thread"]

QUICK = Settings(quick=True, repeats=2)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "_SIZE", 24)
    monkeypatch.setattr(scanning, "_STRIP", 4)
    monkeypatch.setattr(scanning, "_TISSUE", 60)
    monkeypatch.setattr(unet, "_SIDE", 120)
    monkeypatch.setattr(voting, "_SIDE", 40)
    monkeypatch.setattr(voting, "_SIZE", (40, 40))
    monkeypatch.setattr(voting, "_NUM_NUCLEI", 6)
    # Compiling takes longer than all of the rest, and is not ours to test.
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)


def of(section: str) -> list[Entry]:
    return [entry for entry in ENTRIES if entry.section == section]


def names(entry: Entry) -> str:
    return entry.name


@pytest.mark.parametrize("entry", of("scanning") + of("voting"), ids=names)
@pytest.mark.parametrize("settings", [QUICK, Settings(repeats=2)], ids=["quick", "full"])
def test_contenders_agree_and_run(entry: Entry, settings: Settings) -> None:
    try:
        contest = entry.prepare(settings)
    except LookupError as error:
        pytest.skip(str(error))
    contest.verify()
    assert contest.main_name() in {contender.name for contender in contest.contenders}
    assert any(contender.ours for contender in contest.contenders)
    assert not all(contender.ours for contender in contest.contenders)
    for contender in contest.contenders:
        contender.run()
        assert 0 < contender.part <= 1


def off(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *arguments, **settings: function(*arguments, **settings) + 0.3


@pytest.mark.parametrize(
    ("contest", "peer"),
    [
        ("scan", "dense_pass"),
        ("scan", "sliding_window"),
        ("scan-stride-4", "sliding_window"),
        ("scan-bfloat16", "dense_pass"),
        ("image-to-points", "dense_pass"),
        ("image-to-points", "density_by_index_add"),
        ("activation", "activation_in_place"),
        ("targets", "targets_by_tree"),
        ("density", "density_by_index_put"),
        ("votes-to-points", "density_by_scatter_add"),
    ],
)
def test_a_peer_that_is_wrong_is_noticed(
    contest: str, peer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = off(getattr(peers, peer))
    monkeypatch.setattr(peers, peer, wrong)
    for table in ("_DENSITIES", "_HOST_DENSITIES"):
        changed = {
            name: wrong if way.__name__ == peer else way
            for name, way in getattr(voting, table).items()
        }
        monkeypatch.setattr(voting, table, changed)
    entry = next(entry for entry in ENTRIES if entry.name == contest)
    try:
        prepared = entry.prepare(QUICK)
    except LookupError as error:
        pytest.skip(str(error))
    with pytest.raises(AssertionError):
        prepared.verify()


def test_shift_and_stitch_is_the_dense_pass() -> None:
    net = scanning._network(QUICK)
    padded = scanning._padded(scanning._image(QUICK, 24))
    with torch.no_grad():
        found, expected = (
            peers.shift_and_stitch(net, padded, 8),
            peers.dense_pass(net, padded, 1, 8),
        )
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("entry", [e for e in of("curves") if e.name != "sizes"], ids=names)
def test_curves_have_points(entry: Entry) -> None:
    contenders = entry.prepare(QUICK).contenders
    assert len({contender.name for contender in contenders}) == len(contenders)
    for contender in contenders:
        assert contender.x is not None
        assert contender.run().isfinite().all()


def test_operations_of_the_dense_pass() -> None:
    """The design's estimate: 95 % of it is the first layer of the head."""
    net = scanning._network(QUICK)
    head = 2 * 400**2 * net.head[0].weight.numel()
    assert 0.9 < head / scanning.operations(net, 400) < 0.97
