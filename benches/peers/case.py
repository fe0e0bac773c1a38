"""Synthetic pools and heads, and the files Equipoise reads."""
from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from shape import Shape

# One random stream a chunk, so that the data depends neither on threads nor on memory.
CHUNK = 8_192
# Centres have length 1 and the noise a standard deviation of 1 along each axis: at this distance
# from the origin a good part of the rows lies close to a boundary, as in a real pool.
SPREAD = 3.0
HEAD_NOISE = 0.3


@dataclass(frozen=True)
class Case:
    """Stored embeddings (N, M) and the float32 head they are read with."""

    shape: Shape
    pool: np.ndarray
    weight: np.ndarray
    bias: np.ndarray

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Writes pool and head as Equipoise reads them."""
        pool, head = folder / "pool.safetensors", folder / "head.safetensors"
        save_file({"embeddings": self.pool}, pool)
        save_file({"weight": self.weight, "bias": self.bias}, head)
        return pool, head


def make(shape: Shape, seed: int, threads: int) -> Case:
    """Rows scattered around class centres; a head that knows the centres roughly."""
    start = np.random.default_rng([seed, 0])
    unit = np.float32(shape.dim**-0.5)
    centres = start.standard_normal((shape.classes, shape.dim), np.float32) * unit
    noise = start.standard_normal(centres.shape, np.float32) * unit
    weight = centres + np.float32(HEAD_NOISE) * noise
    bias = np.float32(0.1) * start.standard_normal(shape.classes, np.float32)
    pool = np.empty((shape.rows, shape.dim), np.float16 if shape.dtype == "f16" else np.float32)

    def fill(first: int) -> None:
        part = pool[first : first + CHUNK]
        stream = np.random.default_rng([seed, 1, first])
        classes = stream.integers(shape.classes, size=len(part))
        part[:] = stream.standard_normal(part.shape, np.float32) + np.float32(SPREAD) * centres[classes]

    with ThreadPoolExecutor(threads) as workers:
        list(workers.map(fill, range(0, shape.rows, CHUNK)))
    return Case(shape, pool, weight, bias)
