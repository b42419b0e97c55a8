"""Images, clicks, and the files that hold them."""

from __future__ import annotations

from .clicks import (
    POINT_SUFFIXES,
    from_corner_origin,
    read_points,
    to_corner_origin,
    write_csv,
    write_geojson,
)
from .files import Sample, load_sample, pair_by_stem
from .images import (
    IMAGE_SUFFIXES,
    SLIDE_SUFFIXES,
    image_to_tensor,
    list_images,
    normalize,
    read_image,
    resample,
    resample_points,
)
from .paths import atomic_path
from .points import check_points, check_scores
from .slides import Slide, open_slide

__all__ = [
    "IMAGE_SUFFIXES",
    "POINT_SUFFIXES",
    "SLIDE_SUFFIXES",
    "Sample",
    "Slide",
    "atomic_path",
    "check_points",
    "check_scores",
    "from_corner_origin",
    "image_to_tensor",
    "list_images",
    "load_sample",
    "normalize",
    "open_slide",
    "pair_by_stem",
    "read_image",
    "read_points",
    "resample",
    "resample_points",
    "to_corner_origin",
    "write_csv",
    "write_geojson",
]
