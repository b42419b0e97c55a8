"""Votes for every pixel of an image: the sliding window, and the same in one dense pass."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import torch
from numpy.typing import NDArray
from torch import Tensor

from ._arguments import check_integers, check_stride, wrong_type
from ._engine import Engine, engine_of, replaced_passes, why_not
from ._evaluating import evaluating
from ._library import cpu_info
from ._padding import PADDINGS, check_padding, pad_image, window
from ._unet_engine import UNetEngine, unet_engine_of, why_not_unet
from ._whole_scan import fill_by_strips, fill_by_windows
from .errors import InputError
from .functional import hybrid_activation
from .nn import DeepVotingNet, VotingNetwork, VotingUNet
from .nn.deep_voting_net import PATCH_SIZE, POOLED_STRIDE, trunk_geometry
from .nn.network import of_another, tensor_of

__all__ = [
    "PADDINGS",
    "PRECISIONS",
    "Precision",
    "can_scan",
    "check_precision",
    "crop_grid",
    "pad_image",
    "scan",
]

Precision = Literal["exact", "float32", "tf32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
_MARGIN = PATCH_SIZE // 2

# Working memory is bounded by these, not by the image. No map of a tile (the engine holds two at a
# time), with the tile itself, has more numbers than this; no band of PyTorch's head more in its
# widest hidden layer; of patches, more at once are slower, as they no longer fit the cache.
_MAP_NUMBERS = 4_500_000
_BAND_NUMBERS = 6_000_000
_PATCHES_PER_BATCH = 128


@torch.no_grad()
def scan(
    net: VotingNetwork,
    image: Tensor | NDArray[Any],
    *,
    mode: Literal["fast", "sliding"] = "fast",
    stride: int = 1,
    padding: str = "reflect",
    precision: Precision = "exact",
    region: tuple[int, int, int, int] | None = None,
    progress: Callable[[float], object] | None = None,
) -> Tensor:
    """Cast the votes of every ``stride``-th pixel of an image.

    The image is padded by half a patch and all convolutions are valid, so that both modes give the
    same votes at every pixel, borders included. A network that is not made of patches, such as a
    :class:`dvfast.nn.VotingUNet`, is run over parts that overlap by all it reaches.

    Parameters
    ----------
    net
        The network; dropout is off during the scan.
    image
        ``[B, C, H, W]`` or ``[C, H, W]`` float32 in [0, 1], or a NumPy image ``[H, W]`` or
        ``[H, W, 3]`` of uint8, uint16 or floats in [0, 1].
    mode
        ``"sliding"`` runs a patch per pixel through the patch network (the paper's DV-1; its DV-3
        is a stride of 3). ``"fast"`` is one dense pass, in which neighbouring patches share what
        they have in common.
    stride
        Distance in pixels between voters, at least 1; a multiple of the network's `output_stride`.
    padding
        What surrounds the image: ``"reflect"`` (its mirror image), ``"replicate"`` (its border),
        ``"circular"`` (its far side) or ``"constant"`` (zeros).
    precision
        ``"exact"``: every vote is summed in one fixed order of float32 fused multiply-adds, so
        that a pixel's votes have the same bits in either mode, at any stride, in any tile, batch
        or crop (that holds its surroundings), with any number of threads. ``"float32"``: as
        accurate (offsets within 1e-3 pixel, confidences within 1e-5) and several times as fast in
        ``"fast"`` mode: by Winograd's algorithm at strides 1, 2 and 4 on a CPU, the same bits in
        any tile; by three products of TF32 on a GPU. Otherwise the bits of ``"exact"``.
        ``"bfloat16"`` and ``"tf32"``: faster again and coarser (docs/scanning.md), in ``"fast"``
        mode, the former on a CPU with AMX, both on a GPU of compute capability 8.0. A
        :class:`dvfast.nn.VotingUNet` has ``"exact"``, too; ``"float32"`` is Winograd's algorithm on
        a CPU, whose last bits depend on where a large image is cut, and PyTorch on a GPU, as is
        ``"bfloat16"``. Networks of one's own are run by PyTorch; a RuntimeWarning says so where
        the engine was to be expected. PyTorch then convolves in float32 itself, never in TF32.
    region
        ``(top, left, height, width)``: only the pixels ``(top, left) + stride * i`` within this
        part of the image. Its votes are those of the whole image at the same pixels.
    progress
        Called with the share that is done, from 0 to 1, as the scan goes on.

    Returns
    -------
    Tensor
        Votes ``[B, 3k, ceil(H / stride), ceil(W / stride)]`` (of the region, if there is one),
        after the hybrid activation. Beside them and the image, memory does not grow with the image.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another type, or out of range.
    InputError
        If a NumPy image is of a kind that has no reading; if the network is on the meta device; if
        the network or the device does not have the precision or the mode; if the stride is no
        multiple of the network's `output_stride`.

    Examples
    --------
    >>> import torch, dvfast
    >>> net = dvfast.nn.DeepVotingNet(num_votes=1, channels=(4, 4, 4), hidden=(8,))
    >>> dvfast.scan(net, torch.rand(3, 20, 30), stride=2).shape
    torch.Size([1, 3, 10, 15])
    """
    if mode not in ("fast", "sliding"):
        raise ValueError(f"mode must be 'fast' or 'sliding', got {mode!r}")
    if precision not in PRECISIONS:
        raise ValueError(
            f"precision must be one of {', '.join(map(repr, PRECISIONS))}, got {precision!r}"
        )
    check_padding(padding)
    check_stride(stride)
    if not isinstance(net, VotingNetwork):
        raise wrong_type("net", net, "a VotingNetwork", of_another(net))
    if tensor_of(net).device.type == "meta":
        raise InputError(
            "net must have weights, got one on the meta device, which has none: "
            "net.to_empty(device='cpu') and net.load_state_dict give it some"
        )
    images = _as_batch(image, net)
    height, width = images.shape[2:]
    region = (0, 0, height, width) if region is None else region
    check_integers("region", region, "four integers, (top, left, height, width)")
    if len(region) != 4:
        raise ValueError(f"region must be (top, left, height, width), got {region}")
    top, left, rows, columns = region
    if min(top, left, rows, columns) < 0 or top + rows > height or left + columns > width:
        raise ValueError(
            f"region must be (top, left, height, width) within {height} x {width}, got {region}"
        )
    grid = _Grid(top, left, math.ceil(rows / stride), math.ceil(columns / stride), stride)
    if 0 in (images.shape[0], grid.rows, grid.columns):
        return images.new_empty(images.shape[0], 3 * net.num_votes, grid.rows, grid.columns)
    if not isinstance(net, DeepVotingNet):
        return _scan_windows(net, images, grid, mode, padding, precision, progress)
    if reason := why_not(net):
        warnings.warn(
            f"the scan engine cannot run this network ({reason}): PyTorch's convolutions do, whose "
            f"last bits depend on tiles and threads{_what_is_not_called(net, mode)}",
            RuntimeWarning,
            stacklevel=3,  # past the frame of no_grad
        )
        engine = None
    else:
        engine = engine_of(net)
    _check_precision(precision, mode, engine, reason)
    if mode == "fast" and engine is None and replaced_passes(net):
        # In float32 whatever was asked for: PyTorch has no other, and the warning is out.
        return _scan_windows(net, images, grid, mode, padding, "float32", progress)
    block = engine.block(precision, stride) if engine and mode == "fast" else (1, 1)
    whole = grid.whole_blocks(block)
    with evaluating(net), torch.autocast(images.device.type, enabled=False):
        votes = _scan_grid(net, engine, images, whole, block, mode, padding, precision, progress)
    first_row, first_column = (grid.top - whole.top) // stride, (grid.left - whole.left) // stride
    return votes[
        :, :, first_row : first_row + grid.rows, first_column : first_column + grid.columns
    ]


def check_precision(
    net: VotingNetwork, precision: Precision, mode: str, stride: int | None = None
) -> None:
    """Raise an InputError if there cannot be such a scan, before there is an image."""
    if stride is not None:
        _check_grid(net, stride=stride)
    if not isinstance(net, DeepVotingNet):
        _check_windows(net, mode, precision)
        return
    reason = why_not(net)
    _check_precision(precision, mode, None if reason else engine_of(net), reason)


def crop_grid(net: VotingNetwork, stride: int, precision: Precision) -> int:
    """Crops that begin at a multiple of this have the votes of the whole, given what they reach.

    Not to the bit where a fast algorithm cuts large images by its own measure.
    """
    grid = math.lcm(stride, net.grid, net.output_stride)
    if isinstance(net, DeepVotingNet) and why_not(net) is None:
        grid = math.lcm(grid, *(stride * side for side in engine_of(net).block(precision, stride)))
    return grid


def can_scan(net: VotingNetwork, precision: Precision) -> bool:
    """Whether a fast scan of this precision can be had, without a warning."""
    try:
        check_precision(net, precision, "fast")
    except InputError:
        return False
    return precision != "exact" or isinstance(net, DeepVotingNet) or why_not_unet(net) is None


def _check_precision(precision: str, mode: str, engine: Engine | None, reason: str | None) -> None:
    if precision in ("exact", "float32"):
        return
    needs = engine.why_not(precision) if engine else f"the scan engine, but {reason}"
    if mode != "fast":
        needs = "mode='fast'"
    if needs:
        raise InputError(f"precision {precision!r} needs {needs}; use 'float32'")


def _what_is_not_called(net: DeepVotingNet, mode: str) -> str:
    """What a network does to single patches alone, which the dense pass knows nothing of."""
    replaced = replaced_passes(net)
    if mode != "fast":
        return ""
    if "forward" in replaced and "dense" not in replaced:
        return "; mode 'fast' calls its dense and not its forward, which mode 'sliding' does"
    if net._forward_hooks or net._forward_pre_hooks:
        return "; mode 'fast' calls its dense and not its hooks, which mode 'sliding' does"
    return ""


def _check_windows(net: VotingNetwork, mode: str, precision: str) -> None:
    kind = type(net).__name__
    if mode != "fast":
        raise InputError(f"mode {mode!r} needs a DeepVotingNet, got a {kind}; use 'fast'")
    device = tensor_of(net).device
    if precision == "bfloat16" and device.type == "cpu" and not cpu_info()["matrix_unit"]:
        raise InputError("precision 'bfloat16' needs a CPU with AMX, on Linux; use 'float32'")
    if precision == "tf32":
        raise InputError(f"precision 'tf32' needs a DeepVotingNet, got a {kind}; use 'float32'")


def _check_grid(net: VotingNetwork, **places: int) -> None:
    for name, value in places.items():
        if value % net.output_stride:
            raise InputError(
                f"{name} must be a multiple of {net.output_stride}, the distance of this "
                f"network's votes, got {value}"
            )


def _scan_windows(
    net: VotingNetwork,
    images: Tensor,
    grid: _Grid,
    mode: str,
    padding: str,
    precision: str,
    progress: Callable[[float], object] | None,
) -> Tensor:
    """Votes of the grid by a network whose dense pass is its own."""
    _check_windows(net, mode, precision)
    _check_grid(net, stride=grid.stride, top=grid.top, left=grid.left)
    engine = _engine_of_windows(net, images.device.type, precision)
    votes = images.new_empty(images.shape[0], 3 * net.num_votes, grid.rows, grid.columns)
    place = (grid.top, grid.left, grid.stride)
    lower = torch.autocast(images.device.type, torch.bfloat16, enabled=precision == "bfloat16")
    with evaluating(net), lower:
        if engine:
            fill_by_strips(net, engine, precision, images, votes, place, padding, progress)
        else:
            fill_by_windows(net, images, votes, place, padding, progress)
    return votes


def _engine_of_windows(net: VotingNetwork, device: str, precision: str) -> UNetEngine | None:
    """The engine where it is what was asked for, or faster; ``None``: PyTorch."""
    faster = precision == "float32" and device == "cpu" and isinstance(net, VotingUNet)
    if precision != "exact" and not faster:
        return None
    if reason := why_not_unet(net):
        warnings.warn(
            f"the scan engine cannot run this network ({reason}): PyTorch's convolutions do, whose "
            "last bits depend on windows and threads",
            RuntimeWarning,
            stacklevel=5,  # past _scan_windows, scan and the frame of no_grad
        )
        return None
    return unet_engine_of(cast(VotingUNet, net))


@dataclass(frozen=True)
class _Grid:
    """The pixels ``(top, left) + stride * i``, so many rows and columns of them."""

    top: int
    left: int
    rows: int
    columns: int
    stride: int

    def whole_blocks(self, block: tuple[int, int]) -> _Grid:
        """With all that shares a block with it, be it outside the image."""
        above = self.top // self.stride % block[0]
        before = self.left // self.stride % block[1]
        return _Grid(
            self.top - above * self.stride,
            self.left - before * self.stride,
            _round_up(above + self.rows, block[0]),
            _round_up(before + self.columns, block[1]),
            self.stride,
        )


def _round_up(number: int, step: int) -> int:
    return -(-number // step) * step


def _scan_grid(
    net: DeepVotingNet,
    engine: Engine | None,
    images: Tensor,
    grid: _Grid,
    block: tuple[int, int],
    mode: str,
    padding: str,
    precision: str,
    progress: Callable[[float], object] | None,
) -> Tensor:
    """Votes of the grid, tile by tile. The padded image is never made whole."""
    votes = images.new_empty(images.shape[0], 3 * net.num_votes, grid.rows, grid.columns)
    tile_rows, tile_columns = (
        _tile_of_pixels(grid, _round_up(max(net.channels), 16), net.in_channels, block)
        if mode == "fast"
        else (max(1, _PATCHES_PER_BATCH // grid.columns), _PATCHES_PER_BATCH)
    )
    done = 0
    for b in range(votes.shape[0]):
        for i in range(0, grid.rows, tile_rows):
            for j in range(0, grid.columns, tile_columns):
                target = votes[b : b + 1, :, i : i + tile_rows, j : j + tile_columns]
                pixels = window(
                    images[b : b + 1],
                    grid.top + i * grid.stride - _MARGIN,
                    grid.left + j * grid.stride - _MARGIN,
                    (target.shape[2] - 1) * grid.stride + PATCH_SIZE,
                    (target.shape[3] - 1) * grid.stride + PATCH_SIZE,
                    padding,
                )
                if mode == "fast" and engine:
                    tile = pixels.permute(0, 2, 3, 1).contiguous()
                    target[:] = engine.votes(tile, grid.stride, precision)
                elif mode == "fast":
                    _fill_by_torch(net, pixels, grid.stride, target)
                else:
                    _fill_by_patches(net, engine, pixels, grid.stride, target)
                done += target[0, 0].numel()
                if progress is not None:
                    progress(done / votes[:, 0].numel())
    return votes


def _tile_of_pixels(
    grid: _Grid, channels: int, in_channels: int, block: tuple[int, int]
) -> tuple[int, int]:
    """Rows and columns of votes whose maps, with all that their windows reach, stay bounded."""
    # The largest map comes after the first pooling, whose stride leaves that much of the image.
    # Of the tile there are two copies, as it was padded and with its channels side by side.
    pool_stride = trunk_geometry(grid.stride)[0][1]
    numbers = _MAP_NUMBERS * pool_stride**2 // (channels + 2 * in_channels * pool_stride**2)

    def even_parts(total: int, pixels: int, step: int) -> int:
        most = max(step, (pixels - PATCH_SIZE) // grid.stride // step * step)
        return _round_up(math.ceil(total / math.ceil(total / most)), step)

    columns = even_parts(grid.columns, math.isqrt(numbers), block[1])
    pixels = numbers // (columns * grid.stride + PATCH_SIZE)
    return even_parts(grid.rows, pixels, block[0]), columns


def _as_batch(image: Tensor | NDArray[Any], net: VotingNetwork) -> Tensor:
    weight = tensor_of(net)
    if not isinstance(image, Tensor):
        from .data import image_to_tensor

        image = image_to_tensor(image, net.in_channels)
    images = image[None] if image.dim() == 3 else image
    if images.dim() != 4 or images.shape[1] != net.in_channels:
        raise ValueError(
            f"image must be [B, {net.in_channels}, H, W] or [{net.in_channels}, H, W], got "
            f"{list(image.shape)}"
        )
    if not images.is_floating_point():
        raise ValueError(f"image must be floating point in [0, 1], got {images.dtype}")
    return images.to(weight)


def _fill_by_patches(
    net: DeepVotingNet, engine: Engine | None, pixels: Tensor, stride: int, target: Tensor
) -> None:
    """The votes of one batch of patches by the patch network."""
    patches = pixels[0].unfold(1, PATCH_SIZE, stride).unfold(2, PATCH_SIZE, stride)
    batch = patches.permute(1, 2, 0, 3, 4).flatten(0, 1)
    if engine:
        votes = engine.votes(batch.permute(0, 2, 3, 1).contiguous(), POOLED_STRIDE)[:, :, 0, 0]
    else:
        votes = hybrid_activation(net(batch.contiguous(memory_format=torch.channels_last)))
    target[0] = votes.T.reshape(target.shape[1:])


def _fill_by_torch(net: DeepVotingNet, pixels: Tensor, stride: int, target: Tensor) -> None:
    """The votes of one tile by PyTorch's convolutions, the head band by band."""
    rows, columns = target.shape[2:]
    features = net.trunk_pass(pixels.contiguous(memory_format=torch.channels_last), stride)
    # Trunk samples between one row of votes and the next, and those that a row of votes spans.
    between = stride // math.gcd(stride, POOLED_STRIDE)
    reach = features.shape[2] - (rows - 1) * between
    band = max(1, _BAND_NUMBERS // (max(net.hidden, default=1) * columns))
    for y in range(0, rows, band):
        last = min(y + band, rows)
        needed = features[:, :, y * between : (last - 1) * between + reach]
        target[:, :, y:last] = hybrid_activation(net.head_pass(needed, stride))
