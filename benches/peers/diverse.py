#!/usr/bin/env python3
"""coreset and badge of Equipoise against scikit-activeml and the published formulations.

One run on one machine, on the same tensors. The published formulations hold all pairs of distances (coreset) and all
C x M numbers of every gradient embedding (badge), so only small pools fit; nothing is extrapolated. Exits 1 where
Equipoise's coreset is not that of a float64 definition.
"""
from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import environment
from peers import BINARY, Parser, at_least, listed, shape
from shape import Failure, Shape
from table import aligned

EXAMPLES = """examples:
  python3 benches/peers/diverse.py --shape 50000,512,100,1000 --strategies coreset --peers skactiveml
  python3 benches/peers/diverse.py --shape 5000,512,100,1000 --json diverse.json
"""
PEERS = ["skactiveml", "published"]


def parser() -> Parser:
    """The command line."""
    form = argparse.RawDescriptionHelpFormatter
    it = Parser(description=__doc__, epilog=EXAMPLES, formatter_class=form, allow_abbrev=False)
    add = it.add_argument
    add("--shape", type=shape, action="append", required=True, metavar="N,M,C,B", help="a pool, a head and a budget; repeatable")
    add("--strategies", type=listed("coreset", "badge"), default=["coreset", "badge"], metavar="NAMES",
        help="which of coreset,badge (default: both)")  # fmt: skip
    add("--peers", type=listed(*PEERS), default=PEERS, metavar="NAMES",
        help="which of skactiveml,published (default: both, where they fit)")  # fmt: skip
    add("--labelled", type=at_least(1), default=1000, metavar="L", help="rows labelled already (default: 1000)")
    add("--memory", type=at_least(1), default=8, metavar="GIB", help="what a peer's tensors may take (default: 8)")
    add("--repeats", type=at_least(1), default=3, metavar="N", help="runs of Equipoise; peers run once (default: 3)")
    add("--seed", type=at_least(0), default=0, metavar="S", help="of the synthetic data (default: 0)")
    add("--device", default="cpu", metavar="DEVICE", help="Equipoise's (default: cpu)")
    add("--binary", type=Path, default=BINARY, metavar="FILE", help="default: %(default)s")
    add("--json", type=Path, metavar="FILE", help="write everything there")
    environment.add_options(it)
    return it


def measure(wanted: Shape, options: argparse.Namespace, folder: Path) -> dict:
    """One shape: data, runs, checks, table."""
    import numpy as np

    import case
    import diverse_peers as peers
    from product import Equipoise

    made = case.make(wanted, options.seed, 2)
    pool, head = made.write(folder)
    drawn = np.random.default_rng([options.seed, 2]).permutation(wanted.rows)
    labelled = np.sort(drawn[: min(options.labelled, wanted.rows - wanted.budget)])
    list_of = folder / "labelled.txt"
    list_of.write_text("".join(f"{row}\n" for row in labelled))
    binary = Equipoise(options.binary.resolve(), None, pool, head)
    lines, wrong = [], []
    for strategy in options.strategies:
        runs = [
            binary.select(strategy, options.device, wanted.budget, "--labelled", str(list_of))
            for _ in range(options.repeats + 1)
        ][1:]
        ours = median(run.seconds for run in runs)
        rows = runs[0].rows
        lines.append(line("Equipoise", strategy, options.device, [run.seconds for run in runs], ours))
        if strategy == "coreset":
            truth = peers.coreset_definition(made.pool, labelled, wanted.budget)
            lines[-1]["differing"] = int((truth != rows).sum())
            if lines[-1]["differing"]:
                wrong.append(f"{wanted}: coreset differs from the definition at {lines[-1]['differing']} ranks")
        for name in options.peers:
            needed = peers.bytes_needed(name, strategy, wanted)
            if needed > options.memory << 30:
                lines.append({"what": name, "strategy": strategy, "does_not_fit": needed})
                continue
            print(f"{wanted}: {name} {strategy}", file=sys.stderr, flush=True)
            seconds, found = timed(lambda: peers.RUN[name, strategy](made, labelled, wanted.budget))
            lines.append(line(name, strategy, "cpu", [seconds], ours))
            if strategy == "coreset":
                lines[-1]["differing"] = int((truth != found).sum())
    print(table(wanted, len(labelled), lines), flush=True)
    return {"shape": vars(wanted), "labelled": len(labelled), "lines": lines, "wrong": wrong}


def timed(run: Callable[[], object]) -> tuple[float, object]:
    start = time.perf_counter()
    found = run()
    return time.perf_counter() - start, found


def line(what: str, strategy: str, device: str, seconds: list[float], ours: float) -> dict:
    each = median(seconds)
    return {"what": what, "strategy": strategy, "device": device, "seconds": seconds, "median": each,
            "ratio_to_equipoise": each / ours}  # fmt: skip


def table(wanted: Shape, labelled: int, lines: list[dict]) -> str:
    """For people."""
    rows = [["what", "strategy", "seconds", "/ Equipoise", "ranks differing"]]
    for each in lines:
        if "does_not_fit" in each:
            size = f"needs {each['does_not_fit'] / 2**30:,.1f} GiB"
            rows.append([each["what"], each["strategy"], "-", "-", size])
            continue
        differing = each.get("differing")
        rows.append([each["what"], each["strategy"], f"{each['median']:.4g}", f"{each['ratio_to_equipoise']:.1f}",
                     "-" if differing is None else f"{differing:,}"])  # fmt: skip
    return "\n".join([f"\n{wanted}, {labelled:,} labelled", *aligned(rows)])


def main() -> int:
    """Exit status."""
    options = parser().parse_args()
    try:
        environment.enter(options.venv, options.torch_index, "skactiveml")
        import outcome

        done = []
        for wanted in options.shape:
            with tempfile.TemporaryDirectory(prefix="peers-") as folder:
                done.append(measure(wanted, options, Path(folder)))
            if options.json:
                facts = outcome.machine(options.binary, None)
                text = json.dumps(outcome.document(done, facts, {"seed": options.seed}), indent=1, default=str)
                options.json.write_text(text + "\n")
    except (Failure, OSError, MemoryError) as error:
        print(f"diverse.py: {error}", file=sys.stderr)
        return 1
    faults = [fault for each in done for fault in each["wrong"]]
    for fault in faults:
        print(f"WRONG: {fault}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
