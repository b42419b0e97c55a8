"""Files that detection wrote, which it may write anew."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

__all__ = ["PNG_SOFTWARE", "is_own_file"]

PNG_SOFTWARE = "dvfast"  # in the text chunk "Software" of a picture

_HEAD = 4096


def is_own_file(path: Path) -> bool:
    """Whether a CSV, GeoJSON or PNG file is as detection writes them: nobody's clicks or images."""
    suffix = path.suffix.lower()
    if suffix == ".png":
        try:
            with Image.open(path, formats=("PNG",)) as image:
                return bool(image.info.get("Software") == PNG_SOFTWARE)
        except Exception:  # Pillow raises anything on files that are none
            return False
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        head = file.read(_HEAD).strip()
    if suffix == ".csv":
        return not head or head.splitlines()[0].strip().lower() == "y,x,score"
    start = head.replace(" ", "").replace("\n", "")
    if '"id":' in start:  # programs that one corrects points in give every one its own
        return False
    if not start.startswith('{"type":"FeatureCollection","features":['):
        return not start
    return start.endswith("[]}") or '"measurements":{"score":' in start
