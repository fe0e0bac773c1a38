"""Text in columns. Standard library only."""
from __future__ import annotations


def aligned(rows: list[list[str]]) -> list[str]:
    """A line for each row, its cells below those of the row before."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]


def number(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:.2f}"
