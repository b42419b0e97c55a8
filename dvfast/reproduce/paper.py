"""The paper's own Table 1, and where its ranking does not hold here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from types import MappingProxyType
from typing import Any

from ..bench.tables import Table
from .records import LITERAL
from .statistics import Difference, difference

__all__ = ["TABLE_1", "Reversal", "quoted_table", "reversals"]

# By our keys: name, P, R, F1, mean and deviation of the distance, and of the error of the count.
TABLE_1: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "dv-1": ("DV-1", "0.852", "0.794", "0.8152", "2.98 ± 1.939", "9.667 ± 10.302"),
        "dv-3": ("DV-3", "0.727", "0.837", "0.763", "3.217 ± 2.069", "17.238 ± 18.294"),
        "cnn-pc": ("CNN+PC", "0.673", "0.9573", "0.784", "2.51 ± 1.715", "37.714 ± 39.397"),
        "ners": ("NERS", "0.859", "0.602", "0.692", "2.936 ± 2.447", "41.857 ± 57.088"),
        "irv": ("IRV", "0.806", "0.682", "0.718", "3.207 ± 2.173", "17.714 ± 16.399"),
        "itcn": ("ITCN", "0.778", "0.565", "0.641", "3.429 ± 2.019", "33.047 ± 46.425"),
    }
)


@dataclass(frozen=True)
class Reversal:
    """Two methods of which the paper has one ahead, and this data clearly the other.

    Attributes
    ----------
    ahead_there, ahead_here : str
        Keys of the methods.
    difference : Difference
        Of F1 here, above 0.
    """

    ahead_there: str
    ahead_here: str
    difference: Difference


def quoted_table() -> Table:
    """The paper's figures, as printed."""
    headings = ["", "P", "R", "F1", "μ_d ± σ_d", "μ_n ± σ_n"]
    return Table("The paper's Table 1", headings, [list(row) for row in TABLE_1.values()], [])


def reversals(
    record: dict[str, Any], entries: Mapping[str, list[dict[str, Any]]]
) -> list[Reversal]:
    """Pairs whose order in the paper is turned round here, clearly.

    Compared is what the paper compares: F1 averaged over images, counted literally within half a
    radius. Clearly: the interval of the difference excludes 0.

    Parameters
    ----------
    record
        Of a data set.
    entries
        Of every method in it, by its key.
    """
    ranked = sorted(TABLE_1.keys() & entries.keys(), key=lambda key: -float(TABLE_1[key][3]))
    found = []
    for better, worse in combinations(ranked, 2):
        gain = difference(record, entries[worse], entries[better], LITERAL, "macro")
        if gain.value > 0 and gain.is_clear:
            found.append(Reversal(better, worse, gain))
    return found
