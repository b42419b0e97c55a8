"""Weight files: what comes back, and what is refused without ever being executed."""

from __future__ import annotations

import json
import pickle
import stat
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from dvfast.errors import InputError
from dvfast.nn import DeepVotingNet, VotingUNet
from dvfast.weights import available, load_weights, path_of, save_weights
from dvfast.weights.container import read_container, write_container

DESCRIPTION = {
    "pixel_size": 0.25,
    "image_pixel_size": None,
    "data": {"name": "tiles", "licence": "CC BY 4.0", "attribution": "Naumov, 2022: “Żółć”"},
    "scores": {"validation": {"f1": 0.85}},
}


@pytest.fixture
def net() -> DeepVotingNet:
    torch.manual_seed(0)
    return DeepVotingNet(num_votes=3, in_channels=1, channels=(2, 3, 4), hidden=(5, 6), dropout=0.5)


@pytest.fixture
def path(net: DeepVotingNet, tmp_path: Path) -> Path:
    target = tmp_path / "tiny.safetensors"
    save_weights(target, net, DESCRIPTION)
    return target


def rewrite(path: Path, tensors: dict[str, torch.Tensor] | None = None, **facts: Any) -> None:
    """The same file with other tensors, or with other entries in its description."""
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    description = json.loads(header["__metadata__"]["dvfast"]) | facts
    save_file(tensors or load_file(path), path, metadata={"dvfast": json.dumps(description)})


def test_round_trip(net: DeepVotingNet, path: Path) -> None:
    loaded, description = load_weights(path)
    assert loaded.architecture == net.architecture
    assert not loaded.training
    for name, value in net.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)
    for name, value in DESCRIPTION.items():
        assert description[name] == value
    assert description["architecture"] == net.architecture
    patches = torch.rand(2, 1, 39, 39)
    assert torch.equal(loaded(patches), net.eval()(patches))


def test_loaded_weights_can_be_trained_and_outlive_their_file(path: Path) -> None:
    loaded, _ = load_weights(path)
    assert all(parameter.requires_grad for parameter in loaded.parameters())
    before = loaded.conv1.weight.detach().clone()
    path.write_bytes(bytes(path.stat().st_size))
    path.unlink()
    assert torch.equal(loaded.conv1.weight, before)
    loaded.train()(torch.rand(2, 1, 39, 39)).sum().backward()
    assert loaded.conv1.weight.grad is not None


def test_any_memory_format_and_dtype_is_written_the_same(
    net: DeepVotingNet, path: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.safetensors"
    save_weights(other, net.double().to(memory_format=torch.channels_last), DESCRIPTION)
    assert other.read_bytes() == path.read_bytes()


def test_others_may_read_the_file(path: Path) -> None:
    plain = path.with_name("plain")
    plain.write_bytes(b"")
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_saving_twice_replaces_and_failing_leaves_the_old(net: DeepVotingNet, path: Path) -> None:
    old = path.read_bytes()
    with pytest.raises(ValueError, match="JSON"):
        save_weights(path, net, {"scores": float("nan")})
    with torch.no_grad():
        net.conv2.bias[0] = torch.nan
    with pytest.raises(InputError, match=r"conv2\.bias holds NaN"):
        save_weights(path, net, DESCRIPTION)
    assert path.read_bytes() == old
    assert [item.name for item in path.parent.iterdir()] == [path.name]
    save_weights(path, DeepVotingNet(1, 1, (1, 1, 1), ()), {})
    assert load_weights(path)[0].num_votes == 1


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing\.safetensors: no such file"):
        load_weights(tmp_path / "nothing.safetensors")
    with pytest.raises(InputError, match="is a folder"):
        load_weights(tmp_path)


def test_a_folder_that_is_missing(net: DeepVotingNet, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        save_weights(tmp_path / "missing" / "a.safetensors", net, {})


def test_a_file_cut_off_anywhere(path: Path) -> None:
    whole = path.read_bytes()
    for length in [*range(24), *range(24, len(whole), 97), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"tiny\.safetensors.*(cut off|empty)"):
            load_weights(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(InputError, match="damaged"):
        load_weights(path)


class Bomb:
    """Whoever unpickles this creates the file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


@pytest.mark.parametrize("kind", ["zip", "legacy", "protocol 2", "protocol 4", "protocol 5"])
def test_a_pickle_is_refused_unread(tmp_path: Path, kind: str) -> None:
    path, marker = tmp_path / "model.pt", tmp_path / "executed"
    if kind in ("zip", "legacy"):
        torch.save(Bomb(marker), path, _use_new_zipfile_serialization=kind == "zip")
    else:
        path.write_bytes(pickle.dumps(Bomb(marker), protocol=int(kind[-1])))
    with pytest.raises(InputError, match="this is a pickle; dvfast loads data, never code"):
        load_weights(path)
    assert not marker.exists()
    torch.load(path, weights_only=False) if kind in ("zip", "legacy") else pickle.loads(
        path.read_bytes()
    )
    assert marker.exists(), "the pickle of this test would not have done anything"


def test_a_header_that_looks_like_a_pickle_is_none(path: Path) -> None:
    """80 02 00 ... is also the beginning of a safetensors file with a header of 640 bytes."""
    path.write_bytes((0x0280).to_bytes(8, "little") + b" " * 30)
    with pytest.raises(InputError, match="cut off"):
        load_weights(path)


def test_foreign_safetensors(path: Path) -> None:
    tensors = load_file(path)
    for metadata in (None, {"format": "pt"}):
        save_file(tensors, path, metadata=metadata)
        with pytest.raises(InputError, match="'dvfast'"):
            load_weights(path)
    for text in ("{", "[1]"):
        save_file(tensors, path, metadata={"dvfast": text})
        with pytest.raises(InputError, match="JSON"):
            load_weights(path)


def test_formats(path: Path) -> None:
    rewrite(path, format=2)
    with pytest.raises(InputError, match=r"version 2 is newer.*update dvfast"):
        load_weights(path)
    rewrite(path, format="one")
    with pytest.raises(InputError, match="'one'"):
        load_weights(path)


@pytest.mark.parametrize(
    "change",
    [
        {"num_votes": 4},
        {"hidden": [5]},
        {"channels": [2, 3, 5]},
        {"in_channels": 3},
        {"channels": [2, 3]},
        {"num_votes": "three"},
        {"depth": 4},
        {"hidden": [10**15, 10**15]},
    ],
)
def test_another_architecture(net: DeepVotingNet, path: Path, change: dict[str, Any]) -> None:
    rewrite(path, architecture=net.architecture | change)
    with pytest.raises(InputError, match=r"tiny\.safetensors: .*another architecture"):
        load_weights(path)


def test_no_architecture(path: Path) -> None:
    rewrite(path, architecture=None)
    with pytest.raises(InputError, match="no architecture"):
        load_weights(path)


def test_tensors_that_do_not_fit_are_named(path: Path) -> None:
    tensors = load_file(path)
    good = dict(tensors)
    del tensors["conv1.bias"]
    tensors["extra"] = torch.zeros(1)
    tensors["conv2.bias"] = torch.zeros(7)
    rewrite(path, tensors)
    with pytest.raises(InputError) as caught:
        load_weights(path)
    for part in (
        "conv1.bias is missing",
        "extra is unexpected",
        "conv2.bias is float32 [7], expected float32 [3]",
    ):
        assert part in str(caught.value)
    rewrite(path, good | {"conv2.bias": torch.zeros(3, dtype=torch.int64)})
    with pytest.raises(InputError, match="int64"):
        load_weights(path)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_no_numbers(path: Path, value: float) -> None:
    tensors = load_file(path)
    tensors["head.0.weight"][0, 0, 0, 0] = value
    rewrite(path, tensors)
    with pytest.raises(InputError, match=r"head\.0\.weight holds NaN or infinity"):
        load_weights(path)


def test_weights_that_are_too_large_for_float32(path: Path) -> None:
    rewrite(path, {name: t.double().add(1e300) for name, t in load_file(path).items()})
    with pytest.raises(InputError, match="NaN or infinity"):
        load_weights(path)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"format": ' + "1" * 5000 + "}", "{"])
def test_descriptions_that_cannot_be_read(path: Path, text: str) -> None:
    save_file(load_file(path), path, metadata={"dvfast": text})
    with pytest.raises(InputError, match="the description 'dvfast' cannot be read"):
        load_weights(path)


def test_half_precision_is_widened(path: Path) -> None:
    rewrite(path, {name: value.half() for name, value in load_file(path).items()})
    assert load_weights(path)[0].conv1.weight.dtype == torch.float32


def test_shipped_weights_load() -> None:
    assert "ihc" in available()
    for name in available():
        net, description = load_weights(path_of(name))
        assert description["data"]["licence"]
        assert description["data"]["attribution"]
        assert net.num_votes >= 1
    with pytest.raises(InputError, match="no weights called 'he'"):
        path_of("he")


def test_a_unet_round_trip(tmp_path: Path) -> None:
    unet = VotingUNet(num_votes=1, channels=(3, 4), output_stride=2)
    unet.train()(torch.rand(2, 3, 8, 8))  # statistics are saved, too
    save_weights(tmp_path / "unet.safetensors", unet, {})
    same, description = load_weights(tmp_path / "unet.safetensors")
    assert isinstance(same, VotingUNet)
    assert description["network"] == "VotingUNet"
    assert same.architecture == unet.architecture
    image = torch.rand(1, 3, 8, 12)
    with torch.no_grad():
        assert torch.equal(same(image), unet.eval()(image))


def test_other_kinds_of_networks(net: DeepVotingNet, path: Path) -> None:
    class Other(DeepVotingNet):
        pass

    with pytest.raises(InputError, match="net: came as a Other"):
        save_weights(path, Other(num_votes=1, channels=(2, 2, 2), hidden=()), {})
    tensors, facts = read_container(path, "dvfast", "weights")
    del facts["network"]
    write_container(path, tensors, "dvfast", facts)
    assert load_weights(path)[1]["network"] == "DeepVotingNet"
    for kind in ("Transformer", 7, ["VotingUNet"]):
        write_container(path, tensors, "dvfast", {**facts, "network": kind})
        with pytest.raises(InputError, match="holds a network called"):
            load_weights(path)
