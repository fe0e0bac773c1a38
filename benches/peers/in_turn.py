#!/usr/bin/env python3
"""Selections from memory in turn with the matrix product alone, on the CPU.

A turn runs, each in a process of its own and nothing else meanwhile: the product by numpy and by PyTorch, into memory
that is there; `equipoise bench` of whole selections; the same selections in vectorised PyTorch. What a turn counts is
the median of its runs, and turns repeat. Equipoise makes a pool of its own of the same shape; peers.py is what compares
picks.
"""
from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from statistics import median

import environment
from peers import BINARY, Parser, at_least, listed, refuse_missing, shape
from shape import PRESETS, Failure, Shape
from table import aligned, number

EXAMPLES = """examples:
  python3 benches/peers/in_turn.py --json in_turn.json
  python3 benches/peers/in_turn.py --shape 50000,512,100,1000 --turns 2 --seconds 1
"""
COLUMNS = ["what", "median ms", "least to most", "/ GEMM", "/ Equipoise"]
WHAT = {"gemm": "GEMM alone, {}", "equipoise": "Equipoise {}", "torch": "PyTorch {}"}

Times = dict[tuple[str, str], list[float]]
"""Seconds of each turn, by kind (gemm, equipoise, torch) and library or strategy."""


def parser() -> Parser:
    """The command line."""
    form = argparse.RawDescriptionHelpFormatter
    it = Parser(description=__doc__, epilog=EXAMPLES, formatter_class=form, allow_abbrev=False)
    add = it.add_argument
    add("--shape", type=shape, action="append", default=[], metavar="N,M,C,B[,f16]",
        help="repeatable (default: 50000,512,100,1000 and 20000,2048,1000,10000)")  # fmt: skip
    add("--strategies", type=listed("base", "mase", "margin"), default=["base", "mase"], metavar="NAMES",
        help="which of base,mase,margin (default: base,mase)")  # fmt: skip
    add("--turns", type=at_least(1), default=6, metavar="N", help="turns of all (default: 6)")
    add("--seconds", type=at_least(1), default=4, metavar="S",
        help="about how long each runs in a turn; peers 5 to 21 times (default: 4)")  # fmt: skip
    add("--seed", type=at_least(0), default=0, metavar="S", help="of the libraries' synthetic data (default: 0)")
    add("--threads", type=at_least(1), metavar="N", help="for every library and for Equipoise (default: their own)")
    add("--binary", type=Path, default=BINARY, metavar="FILE", help="default: %(default)s")
    add("--json", type=Path, metavar="FILE", help="write everything there")
    add("--work", type=Path, metavar="DIR", help="where the tensors are put for the run (default: the system's)")
    environment.add_options(it)
    return it


def prepare(wanted: Shape, options: argparse.Namespace, tensors: Path) -> dict:
    """Writes the libraries' tensors, in float32; returns the settings that suit PyTorch best."""
    import numpy as np
    import torch

    import case
    import vectorised
    from definition import Definition

    made = case.make(wanted, options.seed, options.threads or os.cpu_count() or 1)
    gaps = Definition(made).gaps
    pool = made.pool.astype(np.float32)
    head = vectorised.Head.of(made, gaps, "cpu", torch.float32)
    settings = vectorised.tune(torch.from_numpy(pool), head, made)
    np.savez(tensors, pool=pool, weight=made.weight, bias=made.bias, gaps=gaps)
    return vars(settings)


def measure(wanted: Shape, options: argparse.Namespace, folder: Path) -> dict:
    """One shape: data, turns, table."""
    from contest import say

    say(f"{wanted}: making the tensors, looking for PyTorch's best settings")
    tensors = folder / "tensors.npz"
    question = {"shape": asdict(wanted), "seconds": options.seconds, "settings": prepare(wanted, options, tensors)}
    times: Times = {}
    for turn in range(options.turns):
        say(f"{wanted}: turn {turn + 1} of {options.turns}")
        for key, seconds in one_turn(tensors, question, options).items():
            times.setdefault(key, []).append(seconds)
    found = lines(times)
    print("\n".join([f"\n{wanted}; turns: {options.turns}", *table(found)]), flush=True)
    return {"shape": asdict(wanted), "settings": question["settings"], "lines": found}


def one_turn(tensors: Path, question: dict, options: argparse.Namespace) -> dict[tuple[str, str], float]:
    """All contenders, one after the other."""
    from product import answered

    def peer(kind: str, name: str) -> float:
        asked = json.dumps({"kind": kind, "name": name, **question})
        program = Path(__file__).with_name("alone.py")
        return median(answered(sys.executable, str(program), str(tensors), asked))

    times = {("gemm", library): peer("gemm", library) for library in ("numpy", "PyTorch")}
    times |= equipoise(Shape(**question["shape"]), options)
    return times | {("torch", strategy): peer("torch", strategy) for strategy in options.strategies}


def equipoise(wanted: Shape, options: argparse.Namespace) -> dict[tuple[str, str], float]:
    """The program's own medians."""
    from product import call

    size = ",".join(map(str, asdict(wanted).values()))
    only = ",".join(f"select {strategy}" for strategy in options.strategies)
    threads = ["--threads", str(options.threads)] if options.threads else []
    report = call(options.binary, "bench", "--device", "cpu", "--shape", size, "--only", only, *threads,
        "--seconds", str(options.seconds), "--peers", "never", "--quiet")  # fmt: skip
    rows = {row["name"]: row["median_ms"] / 1e3 for row in report["rows"]}
    try:
        return {("equipoise", strategy): rows[f"select {strategy}"] for strategy in options.strategies}
    except KeyError as name:
        raise Failure(f"{wanted}: `equipoise bench` has no row {name}: does the pool fit the memory?") from None


def lines(times: Times) -> list[dict]:
    """One object a contender, with its ratios: to the faster library's product, and to Equipoise."""
    medians = {key: median(turns) for key, turns in times.items()}
    gemm = min(each for (kind, _), each in medians.items() if kind == "gemm")
    found = []
    for (kind, name), turns in times.items():
        each, ours = medians[kind, name], medians.get(("equipoise", name))
        found.append({
            "kind": kind, "what": WHAT[kind].format(name), "median": each, "seconds": turns,
            "ratio_to_gemm": each / gemm, "ratio_to_equipoise": ours and each / ours,
        })  # fmt: skip
    return found


def table(found: list[dict]) -> list[str]:
    """For people."""

    def cells(line: dict) -> list[str]:
        least, most = (f"{end(line['seconds']) * 1e3:.1f}" for end in (min, max))
        ratios = (number(line[name]) for name in ("ratio_to_gemm", "ratio_to_equipoise"))
        return [line["what"], f"{line['median'] * 1e3:.1f}", f"{least} to {most}", *ratios]

    return aligned([COLUMNS, *map(cells, found)])


def main() -> int:
    """Exit status."""
    it = parser()
    options = it.parse_args()
    options.shape = options.shape or PRESETS["cpu"]
    refuse_missing(it, options)
    try:
        environment.enter(options.venv, options.torch_index)
        environment.limit_threads(options.threads)
        import outcome

        outcome.measure_all(options, ("strategies", "turns", "seconds", "seed"), measure)
    except (Failure, OSError, MemoryError, RuntimeError) as error:
        print(f"in_turn.py: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
