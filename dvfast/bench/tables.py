"""Results as tables of text, for the terminal and for Markdown alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Table", "bytes_text", "exponent", "markdown", "seconds_text", "table_of"]


@dataclass(frozen=True)
class Table:
    """Headings, rows of as many cells, and what is to be said below."""

    title: str
    headings: list[str]
    rows: list[list[str]]
    notes: list[str]


def seconds_text(seconds: float) -> str:
    """
    >>> [seconds_text(s) for s in (31.04, 0.7591, 0.0000123)]
    ['31.0 s', '759 ms', '12.3 µs']
    """
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size or unit == "µs":
            return f"{_three(seconds / size)} {unit}"
    raise AssertionError("unreachable")


def bytes_text(count: int | None) -> str:
    """
    >>> bytes_text(40_894_464)
    '39 MiB'
    """
    if count is None:
        return ""
    if count >= 2**30:
        return f"{_three(count / 2**30)} GiB"
    return f"{count / 2**20:.0f} MiB" if count >= 2**20 else f"{count / 2**10:.0f} KiB"


def _three(number: float) -> str:
    """Three digits, without an exponent.

    >>> [_three(x) for x in (1234.5, 123.4, 12.34, 1.234, 0.1234)]
    ['1,234', '123', '12.3', '1.23', '0.12']
    """
    return f"{number:,.{0 if number >= 100 else 1 if number >= 10 else 2}f}"


def exponent(x: list[float], seconds: list[float]) -> float | None:
    """Of the power of x that the seconds follow, fitted in the logarithms of both.

    >>> round(exponent([1, 2, 4], [3, 12, 48]), 6)
    2.0
    """
    if len(x) < 3:
        return None
    return float(np.polynomial.Polynomial.fit(np.log(x), np.log(seconds), 1).convert().coef[1])


def table_of(result: dict[str, Any]) -> Table:
    """The rows of a contest, or of a curve."""
    if "axis" in result:
        return _curve_table(result)
    return _contest_table(result)


def _contest_table(result: dict[str, Any]) -> Table:
    rows, main = result["rows"], result["main"]
    facts = list(dict.fromkeys(key for row in rows for key in row.get("facts", {})))
    limits = any("limit" in row for row in rows)
    quoted = any("quoted" in row for row in rows)
    with_memory = any(row["memory_bytes"] is not None for row in rows)
    headings = ["", *facts, "time", "quartiles"]
    headings += ["Mpx/s"] if result["pixels"] else []
    headings += ["× time"]
    headings += ["of limit"] if limits else []
    headings += ["memory"] if with_memory else []
    headings += ["in the paper; × here"] if quoted else []
    unreliable = False
    cells = []
    for row in rows:
        seconds = row["seconds"]
        name = f"**{row['name']}**" if row["name"] == main else row["name"]
        line = [name, *(str(row.get("facts", {}).get(key, "")) for key in facts)]
        line.append(seconds_text(seconds["median"]))
        line.append(f"{seconds_text(seconds['low'])} – {seconds_text(seconds['high'])}")
        if result["pixels"]:
            line.append(_three(result["pixels"] / seconds["median"] / 1e6))
        if "times_main" in row:
            unreliable |= not row["times_main"]["reliable"]
        line.append(_ratio_text(row["times_main"]) if "times_main" in row else "1")
        if limits:
            line.append(_limit_text(row.get("limit")))
        if with_memory:
            line.append(bytes_text(row["memory_bytes"]))
        if quoted:
            line.append(_quoted_text(row.get("quoted"), seconds["median"]))
        cells.append(line)
    notes = [f"× time: as many times that of {main}."] if len(rows) > 1 else []
    notes += [_further(ratio) for ratio in result["ratios"]] + list(result["notes"]) + _limits(rows)
    unreliable |= any(not ratio["reliable"] for ratio in result["ratios"])
    if unreliable:
        notes.append("?: the quartiles lie too far apart to rely on this ratio.")
    return Table(result["title"], headings, cells, notes)


def _ratio_text(ratio: dict[str, Any]) -> str:
    mark = "" if ratio["reliable"] else " ?"
    return f"{_three(ratio['median'])} ± {_three(ratio['spread'])}{mark}"


def _further(ratio: dict[str, Any]) -> str:
    return f"{ratio['slow']} takes {_ratio_text(ratio)} times as long as {ratio['fast']}."


def _quoted_text(quoted: float | None, seconds: float) -> str:
    if quoted is None:
        return ""
    return f"{seconds_text(quoted)}; {_three(seconds / quoted)}"


def _limits(rows: list[dict[str, Any]]) -> list[str]:
    """What the machine reached in this run, at the most."""
    found = {row["limit"]["unit"]: row["limit"]["per_second"] for row in rows if "limit" in row}
    texts = {
        "vector": "float32 multiply-adds {:,.0f} GFLOP/s",
        "matrix": "bfloat16 products of matrices {:,.0f} GFLOP/s",
        "copy": "copying as many bytes {:.1f} GB/s",
    }
    limits = [texts[unit].format(rate / 1e9) for unit, rate in found.items()]
    return [f"Limits here and now: {', '.join(limits)}."] if limits else []


_UNITS = {"vector": "float32", "matrix": "bfloat16", "copy": "copy"}


def _limit_text(limit: dict[str, Any] | None) -> str:
    if limit is None:
        return ""
    share = limit["share"]
    mark = "" if share["reliable"] else " ?"
    return f"{share['median']:.2f} {_UNITS[limit['unit']]}{mark}"


def _curve_table(result: dict[str, Any]) -> Table:
    lines: dict[str, dict[float, float]] = {}
    memory: dict[str, dict[float, int | None]] = {}
    for row in result["rows"]:
        lines.setdefault(row["line"], {})[row["x"]] = row["seconds"]["median"]
        memory.setdefault(row["line"], {})[row["x"]] = row["memory_bytes"]
    xs = sorted({x for line in lines.values() for x in line})
    rows = []
    for name, line in lines.items():
        power = exponent(list(line), list(line.values()))
        times = [seconds_text(line[x]) if x in line else "" for x in xs]
        rows.append([name, *times, "" if power is None else f"{power:.2f}"])
        used = [bytes_text(memory[name].get(x)) for x in xs]
        if any(used):
            rows.append(["its memory, votes included", *used, ""])
    headings = [result["axis"], *(f"{x:,.0f}" for x in xs), "fitted exponent"]
    return Table(result["title"], headings, rows, list(result["notes"]))


def markdown(table: Table) -> str:
    """The table in Markdown, its notes as a paragraph below.

    >>> print(markdown(Table("", ["", "time"], [["dvfast", "1 ms"]], ["A note."])))
    |  | time |
    | --- | ---: |
    | dvfast | 1 ms |
    <BLANKLINE>
    A note.
    """
    lines = [
        f"| {' | '.join(table.headings)} |",
        f"| --- |{' ---: |' * (len(table.headings) - 1)}",
        *(f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in table.rows),
    ]
    return "\n".join(lines + (["", " ".join(table.notes)] if table.notes else []))
