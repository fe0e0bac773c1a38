"""The table, the JSON, and what is told about the machine."""
from __future__ import annotations

import json
import os
import platform
import tempfile
from argparse import Namespace
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from contest import Contender, Contest
from product import call
from shape import Failure, Shape
from table import aligned, number

COLUMNS = ["what", "device", "dtype", "median s", "/ GEMM", "/ Equipoise", "picks differing"]


def measure_all(options: Namespace, kept: tuple[str, ...], measure: Callable[[Shape, Namespace, Path], dict]) -> list[dict]:
    """Every shape's part of the document, which names the options `kept`."""
    facts = machine(options.binary, options.threads)
    asked = {name: getattr(options, name) for name in kept}
    done = []
    for wanted in options.shape:
        with tempfile.TemporaryDirectory(prefix="peers-", dir=options.work) as folder:
            done.append(measure(wanted, options, Path(folder)))
        if options.json:
            # After each shape, so that a run cut short keeps what it has.
            options.json.write_text(json.dumps(document(done, facts, asked), indent=1, default=str) + "\n")
    return done


def machine(binary: Path, threads: int | None) -> dict:
    """Versions, processor, threads and GPUs."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    facts = {
        "cpu": cpu_model(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load_before": list(os.getloadavg()),
        "system": platform.platform(),
        "threads_asked": threads,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torch_threads": torch.get_num_threads(),
        "torch_mkl": torch.backends.mkl.is_available(),
        "numpy": np.__version__,
        "numpy_blas": f"{blas.get('name')} {blas.get('version')}",
        "gpu": None,
        "equipoise_devices": devices(binary),
    }
    if torch.cuda.is_available():
        facts["gpu"] = torch.cuda.get_device_name()
        facts["cuda"] = torch.version.cuda
    return facts


def devices(binary: Path) -> dict | None:
    """What Equipoise says it runs on."""
    try:
        return call(binary, "devices")
    except Failure:
        return None


def cpu_model() -> str:
    """The processor's name where Linux tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def differing(contender: Contender, truths: dict[str, np.ndarray]) -> dict | None:
    """How many of the definition's rows are not picked, and how many ranks hold another row."""
    truth, rows = truths.get(contender.strategy), contender.rows
    if truth is None or rows is None:
        return None
    common = min(len(truth), len(rows))
    ranks = int((truth[:common] != rows[:common]).sum()) + len(truth) - common
    return {"rows": len(np.setdiff1d(truth, rows)), "ranks": ranks, "of": len(truth)}


def lines(contest: Contest, contenders: list[Contender], truths: dict[str, np.ndarray]) -> list[dict]:
    """One object a contender, with its ratios."""
    shape = contest.case.shape

    def least(kind: str, **wanted: str) -> float | None:
        fits = [
            c.median for c in contenders
            if c.kind == kind and all(getattr(c, name) == value for name, value in wanted.items())
        ]  # fmt: skip
        return min(fits, default=None)

    found = []
    for c in contenders:
        # On the CPU every product is float32; on a GPU Equipoise's is held against its pool's dtype.
        gemm = least("gemm", device=c.device, dtype="f32" if c.device == "cpu" else c.dtype)
        ours = least("equipoise", device=c.device, strategy=c.strategy)
        line = {
            "kind": c.kind, "what": c.what, "strategy": None if c.kind == "gemm" else c.strategy,
            "device": c.device, "dtype": c.dtype, "median": c.median, "seconds": c.seconds,
            "ratio_to_gemm": gemm and c.median / gemm, "ratio_to_equipoise": ours and c.median / ours,
            "differing": differing(c, truths), **c.facts,
        }  # fmt: skip
        if c.kind == "gemm":
            line["gflops"] = shape.flops / c.median / 1e9
        if c.kind == "equipoise":
            line["report"] = {key: value for key, value in c.result.report.items() if key != "predicted"}
        found.append(line)
    return found


def table(contest: Contest, found: list[dict]) -> str:
    """For people."""

    def cells(line: dict) -> list[str]:
        differ = line["differing"]
        counted = "-" if differ is None else f"{differ['rows']:,} rows, {differ['ranks']:,} ranks"
        return [
            line["what"], line["device"], line["dtype"], f"{line['median']:.4g}",
            number(line["ratio_to_gemm"]), number(line["ratio_to_equipoise"]), counted,
        ]  # fmt: skip

    texts = aligned([COLUMNS, *map(cells, found)])
    return "\n".join([f"\n{contest.case.shape}", *texts, *notes(contest, found)])


def notes(contest: Contest, found: list[dict]) -> list[str]:
    """What the table cannot say in a cell."""
    said = [
        f"EXTRAPOLATED ({line['device']}) from {line['extrapolated_from_rows']:,} rows at "
        f"{contest.case.shape.rows / line['median']:,.1f} rows/s: distances only, no picking"
        for line in found
        if line["kind"] == "published"
    ]
    if contest.options.check == "picks":
        said.append("picks differing: from Equipoise's, whose scores, quotas and order were checked")
    if any(line.get("clock") == "seconds" for line in found):
        said.append("Equipoise's time is that of the whole command: this binary tells no scan_seconds")
    return said


def document(shapes: list[dict], facts: dict, options: dict) -> dict:
    """Everything, for machines."""
    return {"format": 1, "machine": facts, "options": options, "shapes": shapes}


def summary(contest: Contest, found: list[dict], wrong: list[str]) -> dict:
    """One shape's part of the document."""
    return {"shape": asdict(contest.case.shape), "lines": found, "wrong": wrong}
