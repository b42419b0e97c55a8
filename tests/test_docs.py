"""What the pages tell one to write runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import generator, one_thread

__all__ = ["one_thread"]

import dvfast
from dvfast.errors import InputError

DOCS = Path(__file__).parents[1] / "docs"


def test_a_network_of_ones_own(tmp_path: Path) -> None:
    text = (DOCS / "training.md").read_text()
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    image, clicks = torch.ones(3, 60, 70), torch.tensor([[15.0, 20.0], [40.0, 22.0], [30.0, 50.0]])
    y, x = torch.meshgrid(torch.arange(60), torch.arange(70), indexing="ij")
    for click in clicks:
        image[:, (y - click[0]).square() + (x - click[1]).square() < 16] = 0.2
    torch.manual_seed(0)
    names: dict[str, Any] = {"crops": [(image, clicks)] * 150}
    exec(code, names)
    detector, net = names["detector"], names["net"]
    found = detector.detect(image.movedim(0, 2).numpy())
    order = np.lexsort(clicks.numpy().T[::-1])
    np.testing.assert_allclose(found.points, clicks.numpy()[order], atol=2)
    with pytest.raises(InputError, match="net: came as a Dilated"):
        detector.save(tmp_path / "mine.safetensors")
    again = names["Dilated"](**net.architecture)
    again.load_state_dict(net.state_dict())
    probe = torch.rand(3, 20, 30, generator=generator(0))
    with pytest.warns(RuntimeWarning, match="it is a Dilated"):
        assert torch.equal(dvfast.scan(again, probe), dvfast.scan(net, probe))
