"""The weights that the scan engine packs: those of now, once, and none of what is only traced."""

from __future__ import annotations

import copy
import gc
import os
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support import AGREEMENT, one_thread, random_image, tiny_net, votes_of_patches
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

__all__ = ["one_thread"]

import dvfast
from dvfast import _engine, _engines
from dvfast._engines import held
from dvfast.nn import DeepVotingNet


@pytest.fixture
def net(device: torch.device) -> DeepVotingNet:
    return tiny_net().to(device)


def optimizer_step(net: DeepVotingNet) -> None:
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    net.dense(random_image(1, 3, 40, 40).to(net.conv1.weight.device)).sum().backward()
    optimizer.step()


def through_data(net: DeepVotingNet) -> None:
    bias = net.head[1].bias
    bias.data.copy_(torch.arange(6.0))


def in_place(net: DeepVotingNet) -> None:
    with torch.no_grad():
        net.conv2.weight.mul_(1.5)


def one_number(net: DeepVotingNet) -> None:
    net.head[1].bias.detach()[4] += 0.5


def new_parameter(net: DeepVotingNet) -> None:
    net.head[0].weight = nn.Parameter(net.head[0].weight.detach() * 2)


def new_layer(net: DeepVotingNet) -> None:
    net.conv1 = copy.deepcopy(net.conv1)
    nn.init.normal_(net.conv1.bias)


def state_of_another(net: DeepVotingNet) -> None:
    net.load_state_dict(tiny_net(seed=1).state_dict())


def there_and_back(net: DeepVotingNet) -> None:
    net.half().float()


@pytest.mark.parametrize("precision", ["exact", "float32"])
@pytest.mark.parametrize(
    "change",
    [
        optimizer_step,
        through_data,
        in_place,
        one_number,
        new_parameter,
        new_layer,
        state_of_another,
        there_and_back,
        DeepVotingNet.reset_parameters,
    ],
    ids=lambda change: change.__name__,
)
def test_changed_weights_are_noticed(
    net: DeepVotingNet, change: Callable[[DeepVotingNet], None], precision: str
) -> None:
    image = random_image(1, 3, 9, 10)
    before = dvfast.scan(net, image, precision=precision)
    change(net)
    after = dvfast.scan(net, image, precision=precision)
    assert not torch.equal(after, before)
    assert torch.equal(after, dvfast.scan(copy.deepcopy(net), image, precision=precision))


def without_the_trunk(
    _module: nn.Module, state: dict[str, Any], _prefix: str, _metadata: Any
) -> None:
    """What is left for a checkpoint that holds the head alone, and says of which version it is."""
    for name in [name for name in state if name.startswith("conv")]:
        del state[name]
    state["version"] = 3


def test_what_a_checkpoint_leaves_out_is_noticed(net: DeepVotingNet) -> None:
    image = random_image(1, 3, 9, 10)
    net.register_state_dict_post_hook(without_the_trunk)
    before = dvfast.scan(net, image)
    in_place(net)
    after = dvfast.scan(net, image)
    assert not torch.equal(after, before)
    torch.testing.assert_close(
        after.double(), votes_of_patches(net, image), rtol=AGREEMENT, atol=AGREEMENT
    )


def test_weights_are_packed_once(net: DeepVotingNet) -> None:
    engine = _engine.engine_of(net)
    dvfast.scan(net, random_image(1, 3, 5, 5))
    net.load_state_dict(net.state_dict())
    assert _engine.engine_of(net) is engine
    assert _engine.engine_of(copy.deepcopy(net)) is not engine


class Scanner(nn.Module):
    def __init__(self, net: dvfast.nn.VotingNetwork) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> Tensor:
        return dvfast.scan(self.net, image)


def traced(mode: str) -> Callable[[dvfast.nn.VotingNetwork, Tensor], Callable[[Tensor], Tensor]]:
    def trace(net: dvfast.nn.VotingNetwork, image: Tensor) -> Callable[[Tensor], Tensor]:
        make = make_fx(Scanner(net), tracing_mode=mode, _allow_non_fake_inputs=True)
        made: Callable[[Tensor], Tensor] = make(image)
        return made

    trace.__name__ = f"traced_{mode}"
    return trace


@pytest.mark.parametrize(
    "trace",
    [traced("real"), traced("fake"), traced("symbolic")],
    ids=lambda trace: trace.__name__,
)
@pytest.mark.parametrize("before", [False, True], ids=["at first", "after a scan"])
def test_what_is_traced_packs_for_itself(trace: Any, before: bool) -> None:
    net = tiny_net().requires_grad_(False)
    image = random_image(1, 3, 9, 10)
    expected = dvfast.scan(copy.deepcopy(net), image)
    if before:
        assert torch.equal(dvfast.scan(net, image), expected)
    engine = held(net)
    program = trace(net, image)
    assert held(net) is engine
    assert torch.equal(program(image), expected)
    assert torch.equal(dvfast.scan(net, image), expected)


# In a process of its own: an export that fails leaves oneDNN switched off.
EXPORTS = """
import copy, torch, dvfast
from dvfast._engines import held
from support import small_unet

class Scanner(torch.nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, image):
        return dvfast.scan(self.net, image)

def exported(net):
    return torch.export.export(Scanner(net), (image,), strict=False).module()

image = torch.rand(1, 3, 9, 10)
for before in (False, True):
    net = dvfast.nn.DeepVotingNet(num_votes=2, channels=(4, 4, 4), hidden=(8,))
    net.requires_grad_(False)
    expected = dvfast.scan(copy.deepcopy(net), image)
    if before:
        assert torch.equal(dvfast.scan(net, image), expected)
    engine = held(net)
    program = exported(net)
    assert held(net) is engine
    assert torch.equal(program(image), expected)
    assert torch.equal(dvfast.scan(net, image), expected)

net = small_unet()
expected = dvfast.scan(copy.deepcopy(net), image)
try:
    exported(net)
except RuntimeError as error:
    assert "Cannot access data pointer" in str(error), error
else:
    raise AssertionError("a U-Net can be exported: say so")
assert held(net) is None
assert torch.equal(dvfast.scan(net, image), expected)
"""


def test_what_is_exported_packs_for_itself() -> None:
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", EXPORTS],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stderr


def test_what_is_packed_for_a_function_transform_is_not_kept(net: DeepVotingNet) -> None:
    image = random_image(1, 3, 9, 10)
    expected = dvfast.scan(copy.deepcopy(net), image)
    derivative = torch.func.grad(lambda scale: (scale * dvfast.scan(net, image)).sum())
    torch.testing.assert_close(derivative(torch.tensor(1.0)), expected.sum().cpu())
    assert held(net) is None
    scanner = Scanner(net)
    weights = {name: torch.stack([w, 2 * w]) for name, w in scanner.named_parameters()}
    with pytest.raises(RuntimeError, match="Batching rule not implemented"):
        torch.func.vmap(lambda w: torch.func.functional_call(scanner, w, (image,)))(weights)
    assert held(net) is None
    assert torch.equal(dvfast.scan(net, image), expected)


def test_networks_are_let_go() -> None:
    net = tiny_net()
    dvfast.scan(net, random_image(1, 3, 5, 5), precision="float32")
    network, engine = weakref.ref(net), weakref.ref(_engine.engine_of(net))
    del net
    gc.collect()
    assert network() is None
    assert engine() is None


def test_what_is_held_outlives_a_change_of_weights() -> None:
    net = tiny_net()
    engine = _engine.engine_of(net)
    assert held(net) is engine
    packed = engine._layers[0].weight.clone()
    with torch.no_grad():
        net.conv1.weight.add_(1)
    assert _engine.engine_of(net) is not engine
    assert torch.equal(engine._layers[0].weight, packed)


def test_what_a_graph_packs_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    # Until the graph is replayed there is nothing in it.
    net, image = tiny_net(), random_image(1, 3, 9, 10)
    monkeypatch.setattr(_engines, "_capturing", lambda: True)
    votes = dvfast.scan(net, image, precision="float32")
    assert held(net) is None
    monkeypatch.undo()
    engine = _engine.engine_of(net)
    monkeypatch.setattr(_engines, "_capturing", lambda: True)
    assert torch.equal(dvfast.scan(net, image, precision="float32"), votes)
    assert held(net) is engine
    assert not engine._made
    monkeypatch.undo()
    assert torch.equal(dvfast.scan(net, image, precision="float32"), votes)
    assert engine._made.keys() == {"winograd"}
