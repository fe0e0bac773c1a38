"""The picks by definition, in float64 (numpy), a chunk of the pool at a time.

p = argmax z (ties: lowest class); d[c] = (z_p - z_c) / |W_p - W_c|, not finite: +inf; MASE is the
least d over c != p; BASE's score is MASE at c = p and d elsewhere; margin is the difference of the
two largest softmax probabilities. Ties go to the lowest row.
"""
from __future__ import annotations

from collections.abc import Callable

import numpy as np

from case import Case

# A chunk's scores, in bytes.
CHUNK_BYTES = 128 << 20
# Scores nearer than this are computed again from logits summed in the definition's own order: a
# BLAS product in float64 is off by some 1e-14 at these lengths, and may swap such neighbours.
CLOSE = 1e-11
TIES = 64


class Definition:
    """Scores and picks of one case."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.weight = case.weight.astype(np.float64)
        self.bias = case.bias.astype(np.float64)
        self.gaps = np.stack([np.sqrt(np.square(self.weight - row).sum(axis=1)) for row in self.weight])
        self.chunk = max(1, CHUNK_BYTES // (8 * case.shape.classes))

    def logits(self, rows: slice | np.ndarray) -> np.ndarray:
        """(n, C), by BLAS."""
        return self.case.pool[rows].astype(np.float64) @ self.weight.T + self.bias

    def exact_logits(self, rows: np.ndarray) -> np.ndarray:
        """(n, C), summed over m = 0..M-1 in that order."""
        x = self.case.pool[rows].astype(np.float64)
        total = np.zeros((len(x), len(self.weight)))
        for m in range(x.shape[1]):
            total += x[:, m, None] * self.weight[:, m]
        return total + self.bias

    def distances(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """To each boundary, +inf at the predicted class; and the predicted class."""
        p = z.argmax(axis=1)
        each = np.arange(len(z))
        with np.errstate(divide="ignore", invalid="ignore"):
            d = (z[each, p][:, None] - z) / self.gaps[p]
        d[~np.isfinite(d)] = np.inf
        d[each, p] = np.inf
        return d, p

    def base(self, z: np.ndarray) -> np.ndarray:
        """(n, C)."""
        d, p = self.distances(z)
        d[np.arange(len(z)), p] = d.min(axis=1)
        return d

    def mase(self, z: np.ndarray) -> np.ndarray:
        """(n, 1)."""
        return self.distances(z)[0].min(axis=1)[:, None]

    def margin(self, z: np.ndarray) -> np.ndarray:
        """(n, 1)."""
        second, top = np.partition(z, -2, axis=1)[:, -2:].T
        total = np.exp(z - top[:, None]).sum(axis=1)
        return (-np.expm1(second - top) / total)[:, None]

    def scores(self, strategy: str) -> Callable[[np.ndarray], np.ndarray]:
        """From logits to scores, a column for each list that is served."""
        return {"base": self.base, "mase": self.mase, "margin": self.margin}[strategy]

    def picks(self, strategy: str) -> np.ndarray:
        """Rows in pick order."""
        shape = self.case.shape
        quotas = shape.quotas() if strategy == "base" else [shape.budget]
        values, rows = self.smallest(strategy)
        taken = np.zeros(shape.rows, bool)
        picks = []
        for column, quota in enumerate(quotas):
            ordered = self.ordered(strategy, column, values[column], rows[column])
            picks.append(ordered[~taken[ordered]][:quota])
            taken[picks[-1]] = True
        return np.concatenate(picks)

    def smallest(self, strategy: str) -> tuple[np.ndarray, np.ndarray]:
        """Each list's `budget` smallest scores and their rows: no class can need more, since fewer
        rows than that are taken before its turn ends. A few more, for what ties with the last."""
        shape, score = self.case.shape, self.scores(strategy)
        depth = shape.budget + TIES
        values = rows = None
        for first in range(0, shape.rows, self.chunk):
            new = score(self.logits(slice(first, first + self.chunk))).T
            new_rows = np.broadcast_to(np.arange(first, first + new.shape[1]), new.shape)
            values = new if values is None else np.concatenate([values, new], axis=1)
            rows = new_rows if rows is None else np.concatenate([rows, new_rows], axis=1)
            if values.shape[1] > depth:
                keep = np.argpartition(values, depth - 1, axis=1)[:, :depth]
                values, rows = np.take_along_axis(values, keep, 1), np.take_along_axis(rows, keep, 1)
        return values, rows

    def ordered(self, strategy: str, column: int, values: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Rows by score, then row; scores too close for BLAS to tell apart are computed exactly."""
        order = np.lexsort((rows, values))
        values, rows = values[order], rows[order]
        with np.errstate(invalid="ignore"):
            near = np.flatnonzero(np.diff(values) < CLOSE)
        if near.size:
            unsure = np.union1d(near, near + 1)
            values[unsure] = self.scores(strategy)(self.exact_logits(rows[unsure]))[:, column]
            rows = rows[np.lexsort((rows, values))]
        return rows
