"""What happened during training: numbers, a JSON file and a curve."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data.json_files import write_json
from ..data.paths import atomic_path

__all__ = ["History", "Validation"]


@dataclass(frozen=True)
class Validation:
    """Scores on the validation images after some steps; micro averages unless named macro.

    `threshold` is the one chosen for them, or None where the settings' own was used.
    """

    step: int
    precision: float
    recall: float
    f1: float
    macro_f1: float
    threshold: float | None = None


@dataclass
class History:
    """The loss of every step, and the validations.

    Examples
    --------
    >>> history = History(loss=[3.0, 2.0])
    >>> history.validation.append(Validation(2, 0.9, 0.8, 0.85, 0.84))
    >>> history.to_dict()["validation"][0]["f1"]
    0.85
    """

    loss: list[float] = field(default_factory=list)
    validation: list[Validation] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)

    def write_json(self, path: str | os.PathLike[str]) -> None:
        """Write the history; whole or not at all."""
        write_json(path, self.to_dict(), indent=1)

    def write_curve(self, path: str | os.PathLike[str]) -> None:
        """Draw the loss and the validation F1 over the steps; the suffix picks the format."""
        # Not pyplot: it would choose a window system, and touch the caller's figures.
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(8, 4.5), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot(xlabel="step", ylabel="loss", yscale="log")
        steps = range(1, len(self.loss) + 1)
        axes.plot(steps, self.loss, color="0.8", linewidth=0.5)
        axes.plot(steps, _running_mean(self.loss), color="tab:blue", label="loss, running mean")
        if self.validation:
            scores = axes.twinx()
            scores.plot(
                [item.step for item in self.validation],
                [item.f1 for item in self.validation],
                color="tab:orange",
                marker="o",
                label="validation F1",
            )
            scores.set(ylabel="F1", ylim=(0, 1))
        figure.legend(loc="outside upper center", ncols=2)
        with atomic_path(path) as temporary:
            figure.savefig(temporary, dpi=120)


def _running_mean(values: list[float]) -> NDArray[np.float64]:
    window = max(1, len(values) // 50)
    sums: NDArray[np.float64] = np.cumsum([0.0, *values])
    end = np.arange(1, len(values) + 1)
    start = np.maximum(end - window, 0)
    means: NDArray[np.float64] = (sums[end] - sums[start]) / (end - start)
    return means
