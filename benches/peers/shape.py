"""The shape of a case, and the errors a user sees. Standard library only: read before torch is there."""
from __future__ import annotations

from dataclasses import dataclass


class Failure(Exception):
    """What stops a run, in one line."""


@dataclass(frozen=True)
class Shape:
    """A pool of `rows` embeddings of `dim` numbers, a head of `classes`, a budget."""

    rows: int
    dim: int
    classes: int
    budget: int
    dtype: str = "f32"

    @classmethod
    def parse(cls, text: str) -> Shape:
        """`N,M,C,B` or `N,M,C,B,f16`."""
        fields = text.split(",")
        dtype = fields.pop() if fields[-1] in ("f16", "f32") else "f32"
        try:
            rows, dim, classes, budget = map(int, fields)
        except ValueError:
            raise ValueError(f"bad shape `{text}`: expected N,M,C,B or N,M,C,B,f16, four whole numbers") from None
        if min(rows, dim, budget) < 1 or classes < 2:
            raise ValueError(f"bad shape `{text}`: N, M and B are at least 1, C at least 2")
        if budget > rows:
            raise ValueError(f"bad shape `{text}`: the budget {budget} exceeds the {rows} rows")
        return cls(rows, dim, classes, budget, dtype)

    def __str__(self) -> str:
        return f"{self.rows:,} x {self.dim:,} {self.dtype}, C = {self.classes:,}, B = {self.budget:,}"

    @property
    def flops(self) -> int:
        """Of the product of embeddings and weights."""
        return 2 * self.rows * self.dim * self.classes

    def quotas(self) -> list[int]:
        """What each class may claim."""
        share, rest = divmod(self.budget, self.classes)
        return [share + (c < rest) for c in range(self.classes)]


PRESETS = {
    "cpu": [Shape(50_000, 512, 100, 1_000), Shape(20_000, 2_048, 1_000, 10_000)],
    "gpu": [Shape(1_280_000, 2_048, 1_000, 10_000, "f16")],
}
