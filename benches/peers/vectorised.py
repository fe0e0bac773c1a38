"""BASE, MASE and margin in vectorised PyTorch, and the matrix product alone.

A chunk of rows goes through addmm, an argmax, a gather from the table of 1/|W_p - W_c| and a few
element-wise passes in place; BASE keeps each class's smallest scores, then serves class by class.
Timed from a pool in the device's memory (or in pinned host memory) to the picked rows on the host.
"""
from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf

import numpy as np
import torch
from torch import Tensor

from case import Case

DTYPES = {"f32": torch.float32, "tf32": torch.float32, "f16": torch.float16}
# Rows a chunk may have; which is fastest depends on caches, and is found before anything is timed.
CHUNKS = {"cpu": [512, 2_048, 8_192], "cuda": [8_192, 32_768, 131_072]}

Chunks = Callable[[int], Iterator[Tensor]]
"""From rows in a chunk to the pool's chunks, on the device and in the dtype computed with."""
Kept = tuple[Tensor, Tensor]
"""Smallest scores of each class and their rows, each (depth, C)."""


class Exhausted(Exception):
    """A class's list was too short for its quota."""


@dataclass(frozen=True)
class Head:
    """A head on a device."""

    weight: Tensor
    bias: Tensor
    inverse: Tensor
    """1/|W_p - W_c|, 0 where p = c."""
    twins: bool
    """Whether two classes have the same weights: 0 times infinity must then be mended."""

    @classmethod
    def of(cls, case: Case, gaps: np.ndarray, device: str, dtype: torch.dtype) -> Head:
        """`gaps` is |W_p - W_c| (C, C)."""
        with np.errstate(divide="ignore"):
            inverse = 1.0 / gaps
        np.fill_diagonal(inverse, 0.0)
        weight, bias, table = (torch.from_numpy(a).to(device, dtype) for a in (case.weight, case.bias, inverse))
        return cls(weight, bias, table, bool(torch.isinf(table).any()))


@dataclass(frozen=True)
class Settings:
    """How a scan runs: the fastest of those tried on this pool."""

    chunk: int
    depth: int
    keep: str


def resident(pool: Tensor) -> Chunks:
    """A pool in the memory of the device that computes."""
    return lambda rows: iter(pool.split(rows))


def streamed(host: Tensor, dtype: torch.dtype) -> Chunks:
    """A pool in pinned host memory, copied through two buffers while the one before is computed."""

    def chunks(rows: int) -> Iterator[Tensor]:
        compute, copy = torch.cuda.current_stream(), torch.cuda.Stream()
        parts = host.split(rows)
        slots = [torch.empty_like(parts[0], device="cuda") for _ in range(2)]
        arrived, done = ([torch.cuda.Event() for _ in slots] for _ in range(2))
        # The buffers' memory may still be in use by work already queued.
        copy.wait_stream(compute)

        def send(i: int) -> None:
            with torch.cuda.stream(copy):
                copy.wait_event(done[i % 2])
                slots[i % 2][: len(parts[i])].copy_(parts[i], non_blocking=True)
                arrived[i % 2].record(copy)

        send(0)
        for i, part in enumerate(parts):
            if i + 1 < len(parts):
                send(i + 1)
            compute.wait_event(arrived[i % 2])
            yield slots[i % 2][: len(part)].to(dtype)
            done[i % 2].record(compute)

    return chunks


def distances(x: Tensor, head: Head) -> tuple[Tensor, Tensor]:
    """To each boundary (n, C), +inf at the predicted class; and the predicted class (n, 1)."""
    z = torch.addmm(head.bias, x, head.weight.t())
    top, predicted = z.max(dim=1, keepdim=True)
    d = torch.sub(top, z, out=z).mul_(head.inverse.index_select(0, predicted[:, 0]))
    if head.twins:
        d.nan_to_num_(nan=inf, posinf=inf)
    return d.scatter_(1, predicted, inf), predicted


def base_scores(x: Tensor, head: Head) -> Tensor:
    """(n, C)."""
    d, predicted = distances(x, head)
    return d.scatter_(1, predicted, d.amin(dim=1, keepdim=True))


def mase_scores(x: Tensor, head: Head) -> Tensor:
    """(n,)."""
    return distances(x, head)[0].amin(dim=1)


def margin_scores(x: Tensor, head: Head) -> Tensor:
    """(n,), in float32 whatever the logits are."""
    z = torch.addmm(head.bias, x, head.weight.t())
    top = z.softmax(dim=1, dtype=torch.float32).topk(2, dim=1).values
    return top[:, 0] - top[:, 1]


def merge(kept: Kept | None, values: Tensor, rows: Tensor, depth: int) -> Kept:
    """The smallest of both."""
    if kept is None:
        return values, rows
    values, rows = torch.cat([kept[0], values]), torch.cat([kept[1], rows])
    if len(values) <= depth:
        return values, rows
    values, order = values.topk(depth, dim=0, largest=False, sorted=False)
    return values, rows.gather(0, order)


def keep_topk(kept: Kept | None, scores: Tensor, first: int, depth: int) -> Kept:
    """The chunk's own smallest, merged with those before."""
    values, rows = scores.topk(min(depth, len(scores)), dim=0, largest=False, sorted=False)
    return merge(kept, values, rows + first, depth)


def keep_below(kept: Kept | None, scores: Tensor, first: int, depth: int) -> Kept:
    """Once the lists are full, only scores below their class's largest can enter: few do."""
    if kept is None or len(kept[0]) < depth:
        return keep_topk(kept, scores, first, depth)
    classes, hits = (scores < kept[0].amax(dim=0)).t().nonzero(as_tuple=True)
    if not len(classes):
        return kept
    counts = torch.bincount(classes, minlength=scores.shape[1])
    place = torch.arange(len(classes), device=classes.device) - (counts.cumsum(0) - counts)[classes]
    values = scores.new_full((int(counts.max()), scores.shape[1]), inf)
    rows = torch.zeros_like(values, dtype=torch.int64)
    values[place, classes] = scores[hits, classes]
    rows[place, classes] = hits + first
    return merge(kept, values, rows, depth)


KEEPERS = {"topk": keep_topk, "below": keep_below}


def base_lists(chunks: Chunks, head: Head, settings: Settings) -> Kept:
    """Each class's smallest scores in the whole pool."""
    kept, first = None, 0
    for x in chunks(settings.chunk):
        kept = KEEPERS[settings.keep](kept, base_scores(x, head), first, settings.depth)
        first += len(x)
    return kept


def serve(kept: Kept, quotas: list[int], pool_rows: int) -> np.ndarray:
    """Rows in pick order: classes in turn take their smallest not yet taken."""
    order = kept[0].argsort(dim=0)
    lists = kept[1].gather(0, order).t().contiguous().cpu().numpy()
    taken = np.zeros(pool_rows, bool)
    picks = []
    for rows, quota in zip(lists, quotas, strict=True):
        free = rows[~taken[rows]][:quota]
        if len(free) < quota:
            raise Exhausted
        taken[free] = True
        picks.append(free)
    return np.concatenate(picks)


def select(strategy: str, chunks: Chunks, head: Head, case: Case, settings: Settings) -> np.ndarray:
    """Rows in pick order."""
    shape = case.shape
    if strategy == "base":
        return serve(base_lists(chunks, head, settings), shape.quotas(), shape.rows)
    score = {"mase": mase_scores, "margin": margin_scores}[strategy]
    scores = torch.cat([score(x, head) for x in chunks(settings.chunk)])
    return scores.topk(shape.budget, largest=False).indices.cpu().numpy()


def product(chunks: Chunks, head: Head, rows: int) -> None:
    """The matrix product alone, chunk by chunk into one buffer."""
    weight = head.weight.t()
    out = torch.empty((rows, weight.shape[1]), dtype=weight.dtype, device=weight.device)
    for x in chunks(rows):
        torch.mm(x, weight, out=out[: len(x)])


def fastest(candidates: list, run: Callable) -> object:
    """The candidate whose second run takes least."""

    def seconds(candidate: object) -> float:
        run(candidate)
        return timed(lambda: run(candidate))[0]

    return min(candidates, key=seconds)


def timed(run: Callable) -> tuple[float, object]:
    """Wall-clock seconds until the device is done, and what came of it."""
    synchronise()
    started = time.perf_counter()
    result = run()
    synchronise()
    return time.perf_counter() - started, result


def synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def tune(pool: Tensor, head: Head, case: Case) -> Settings:
    """List depth: the first doubling with which no class runs out. Chunk and way to keep: the
    fastest on the first rows. All of it is the peer's gain: none of it is timed."""
    sizes = CHUNKS[pool.device.type]
    depth = min(case.shape.rows, 2 * max(case.shape.quotas()))
    while True:
        try:
            select("base", resident(pool), head, case, Settings(sizes[-1], depth, "topk"))
            break
        except Exhausted:
            depth = min(case.shape.rows, 2 * depth)
    part = resident(pool[: 4 * sizes[-1]])
    options = [Settings(chunk, depth, keep) for chunk in sizes for keep in KEEPERS]
    return fastest(options, lambda settings: base_lists(part, head, settings))
