#!/usr/bin/env python3
"""One contender of in_turn.py, in a process that does nothing else; prints the seconds of each of its runs.

TENSORS is what in_turn.py wrote, QUESTION JSON: kind, name, seconds, shape, settings.
"""
from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping

from shape import Shape

# Runs timed, whatever they take; two before them are not.
LEAST, MOST = 5, 21


def contender(question: dict, tensors: Mapping) -> Callable[[], object]:
    """Runs once, on tensors that are in memory."""
    if question["kind"] == "torch":
        return selection(question, tensors)
    return {"numpy": numpy_product, "PyTorch": torch_product}[question["name"]](tensors["pool"], tensors["weight"])


def numpy_product(pool, weight) -> Callable[[], object]:
    """By numpy's BLAS, into memory that is there."""
    import numpy as np

    out = np.empty((len(pool), len(weight)), np.float32)
    return lambda: np.matmul(pool, weight.T, out=out)


def torch_product(pool, weight) -> Callable[[], object]:
    """By PyTorch's, likewise."""
    import torch

    pool, weight = torch.from_numpy(pool), torch.from_numpy(weight)
    out = torch.empty((len(pool), len(weight)))
    return lambda: torch.mm(pool, weight.t(), out=out)


def selection(question: dict, tensors: Mapping) -> Callable[[], object]:
    """A strategy in vectorised PyTorch, to rows in pick order."""
    import torch

    import vectorised
    from case import Case

    made = Case(Shape(**question["shape"]), tensors["pool"], tensors["weight"], tensors["bias"])
    head = vectorised.Head.of(made, tensors["gaps"], "cpu", torch.float32)
    chunks = vectorised.resident(torch.from_numpy(made.pool))
    settings = vectorised.Settings(**question["settings"])
    return lambda: vectorised.select(question["name"], chunks, head, made, settings)


def repeat(run: Callable[[], object], seconds: float) -> list[float]:
    """What each of some runs took, `seconds` in all where the bounds allow."""

    def once() -> float:
        started = time.perf_counter()
        run()
        return time.perf_counter() - started

    once()
    runs = int(seconds / once())
    return [once() for _ in range(max(LEAST, min(MOST, runs)))]


def main() -> None:
    it = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    it.add_argument("tensors", metavar="TENSORS")
    it.add_argument("question", type=json.loads, metavar="QUESTION")
    options = it.parse_args()
    import numpy as np

    with np.load(options.tensors) as file:
        tensors = dict(file)
    print(json.dumps(repeat(contender(options.question, tensors), options.question["seconds"])))


if __name__ == "__main__":
    main()
