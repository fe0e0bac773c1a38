#!/usr/bin/env python3
"""Equipoise against PyTorch, the published formulation and the matrix product alone.

One run on one machine, on the same tensors, each thing in turn and again, medians; and a check of
the picks against a float64 definition. Exits 1 where Equipoise's picks are not the definition's.
"""
from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

import environment
from shape import PRESETS, Failure, Shape

BINARY = Path(__file__).resolve().parents[2] / "target/release/equipoise"
EXAMPLES = """examples:
  python3 benches/peers/peers.py --shapes cpu --json peers.json
  python3 benches/peers/peers.py --shape 5000,256,50,500 --repeats 3
  python3 benches/peers/peers.py --shapes gpu --devices gpu --repeats 5 --json gpu.json
  python3 benches/peers/peers.py --torch-index default --venv /tmp/peers-venv --shapes cpu
"""


class Parser(argparse.ArgumentParser):
    """Errors in one line."""

    def error(self, message: str) -> None:
        self.exit(2, f"{self.prog}: {message}; see --help\n")


def listed(*allowed: str) -> Callable[[str], list[str]]:
    """A type for arguments: names from `allowed`, with commas between."""

    def parse(text: str) -> list[str]:
        names = list(dict.fromkeys(text.split(",")))
        for name in names:
            if name not in allowed:
                raise argparse.ArgumentTypeError(f"`{name}` is none of {', '.join(allowed)}")
        return names

    return parse


def shape(text: str) -> Shape:
    try:
        return Shape.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def at_least(least: int) -> Callable[[str], int]:
    """A type for arguments: a whole number that is not too small."""

    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"`{text}` is not a whole number of {least} or more")
        return int(text)

    return parse


def parser() -> Parser:
    """The command line."""
    form = argparse.RawDescriptionHelpFormatter
    it = Parser(description=__doc__, epilog=EXAMPLES, formatter_class=form, allow_abbrev=False)
    add = it.add_argument
    add("--shapes", choices=PRESETS, help="cpu: 50000x512 C=100 B=1000 and 20000x2048 C=1000 B=10000; "
        "gpu: 1280000x2048 f16 C=1000 B=10000 (default: cpu, unless --shape is given)")  # fmt: skip
    add("--shape", type=shape, action="append", default=[], metavar="N,M,C,B[,f16]", help="one more shape; repeatable")
    add("--strategies", type=listed("base", "mase", "margin"), default=["base", "mase", "margin"], metavar="NAMES",
        help="which of base,mase,margin (default: all)")  # fmt: skip
    add("--devices", type=listed("cpu", "gpu"), metavar="NAMES",
        help="which of cpu,gpu (default: cpu, and gpu where PyTorch sees CUDA)")  # fmt: skip
    add("--without-cuda", action="store_true",
        help="go on where PyTorch sees no CUDA device: on the GPU only Equipoise runs")  # fmt: skip
    add("--binary", type=Path, default=BINARY, metavar="FILE", help="default: %(default)s")
    add("--repeats", type=at_least(1), default=5, metavar="N", help="timed runs of each (default: 5)")
    add("--seed", type=at_least(0), default=0, metavar="S", help="of the synthetic data (default: 0)")
    add("--threads", type=at_least(1), metavar="N", help="for every library and for Equipoise (default: their own)")
    add("--check", choices=["full", "picks", "none"], default="full",
        help="full: picks against a float64 definition of the whole pool (default); picks: only what the picked "
        "rows tell (scores, quotas, order); none")  # fmt: skip
    add("--published-rows", type=at_least(0), metavar="N",
        help="rows for the published formulation; 0 leaves it out (default: what fits 4 GB)")  # fmt: skip
    add("--json", type=Path, metavar="FILE", help="write everything there")
    add("--work", type=Path, metavar="DIR", help="where the tensors are put for the run (default: the system's)")
    environment.add_options(it)
    return it


def read_options() -> argparse.Namespace:
    """What was asked, refused where it cannot work: before anything is installed."""
    it = parser()
    options = it.parse_args()
    options.shape += PRESETS[options.shapes or "cpu"] if options.shapes or not options.shape else []
    refuse_missing(it, options)
    return options


def refuse_missing(it: Parser, options: argparse.Namespace) -> None:
    """A binary and folders that are not there."""
    if not options.binary.is_file() or not os.access(options.binary, os.X_OK):
        it.error(f"no binary at {options.binary}: `cargo build --release`, or name it with --binary")
    options.binary = options.binary.resolve()
    if options.json and not options.json.absolute().parent.is_dir():
        it.error(f"--json {options.json}: no such folder")
    if options.work and not options.work.is_dir():
        it.error(f"--work {options.work}: no such folder")


def needs_cuda(options: argparse.Namespace) -> bool:
    """Whether PyTorch has to see a CUDA device: where a GPU is asked for, or is there and nothing is asked for."""
    if options.without_cuda:
        return False
    return "gpu" in options.devices if options.devices else environment.nvidia()


def run(options: argparse.Namespace) -> list[str]:
    """Measures every shape; returns what is wrong with Equipoise's picks."""
    environment.limit_threads(options.threads)
    import torch

    import outcome

    if needs_cuda(options) and not torch.cuda.is_available():
        raise Failure(f"PyTorch {torch.__version__} sees no CUDA device, see nvidia-smi; hint: --devices cpu leaves the GPU "
            "out, --without-cuda runs only Equipoise on it")  # fmt: skip
    options.devices = options.devices or (["cpu", "gpu"] if torch.cuda.is_available() else ["cpu"])
    kept = ("strategies", "devices", "repeats", "seed", "check")
    return [fault for each in outcome.measure_all(options, kept, measure) for fault in each["wrong"]]


def measure(wanted: Shape, options: argparse.Namespace, folder: Path) -> dict:
    """One shape: data, runs, checks, table."""
    import case
    import contest
    import outcome
    from definition import Definition

    contest.say(f"{wanted}: making the tensors")
    made = case.make(wanted, options.seed, options.threads or os.cpu_count() or 1)
    it = contest.Contest(made, Definition(made), options)
    contenders = it.contenders(*made.write(folder))
    contest.compete(contenders, options.repeats)
    truths, wrong = contest.truths(it, contenders)
    found = outcome.lines(it, contenders, truths)
    print(outcome.table(it, found), flush=True)
    return outcome.summary(it, found, wrong)


def main() -> int:
    """Exit status."""
    options = read_options()
    try:
        environment.enter(options.venv, options.torch_index, cuda=needs_cuda(options))
        faults = run(options)
    except (Failure, OSError, MemoryError) as error:
        print(f"peers.py: {error}", file=sys.stderr)
        return 1
    except RuntimeError as error:
        # PyTorch's own, out of device memory above all.
        print(f"peers.py: PyTorch: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    for fault in faults:
        print(f"WRONG: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
