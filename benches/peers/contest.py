"""What is measured on one shape: every contender as a function that runs once and is timed."""
from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch

import product
import published
import vectorised
from case import Case
from definition import Definition
from product import Equipoise
from vectorised import DTYPES, Chunks, Head, Settings

# Threads of the library measured before spin for a while when their work is done.
PAUSE_SECONDS = 0.2


@dataclass
class Contender:
    """One line of the table."""

    kind: str
    """gemm, torch, published or equipoise."""
    what: str
    device: str
    dtype: str
    run: Callable[[], tuple[float, object]]
    """Runs once: seconds, and the picked rows or Equipoise's answer."""
    strategy: str = "base"
    facts: dict = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    result: object = None

    def measure(self) -> None:
        """One timed run. What lives in this process runs once just before, so that its threads and
        caches are warm; Equipoise starts afresh each time, as it does for a user, and selects once or three times."""
        time.sleep(PAUSE_SECONDS)
        if self.kind in ("gemm", "torch"):
            self.run()
        seconds, self.result = self.run()
        self.seconds.append(seconds)

    @property
    def median(self) -> float:
        return median(self.seconds)

    @property
    def rows(self) -> np.ndarray | None:
        """The rows of the last run, if it picks any."""
        return {"torch": self.result, "equipoise": getattr(self.result, "rows", None)}.get(self.kind)


@dataclass
class Contest:
    """Everything that runs on one case."""

    case: Case
    definition: Definition
    options: Namespace

    def contenders(self, pool: Path, head: Path) -> list[Contender]:
        """All of them, each ready to be timed."""
        found = []
        for device in self.options.devices:
            found += self.equipoise(device, pool, head)
            if device == "cpu":
                found += self.peers("cpu", ["f32"])
            elif torch.cuda.is_available():
                found += self.peers("gpu", ["f32", "tf32", "f16"])
            else:
                say("PyTorch sees no CUDA device: on the GPU only Equipoise runs")
        return found

    def equipoise(self, device: str, pool: Path, head: Path) -> list[Contender]:
        """Two contenders a strategy: the first selection of a process, and the third, which finds its memory
        touched as the peers find theirs. The first run, not timed, warms the page cache."""
        binary = Equipoise(self.options.binary, self.options.threads, pool, head)
        found = []
        for strategy in self.options.strategies:

            def run(again: bool, strategy: str = strategy) -> tuple[float, object]:
                answer = binary.select(strategy, device, self.case.shape.budget, again=again)
                return answer.seconds, answer

            clock = run(False)[1].clock
            times = {False: "", True: ", third time"} if clock == "scan_seconds" else {False: " (whole command)"}
            for again, suffix in times.items():
                name, facts = f"Equipoise {strategy}{suffix}", {"clock": clock, "again": again}
                dtype = self.case.shape.dtype
                found.append(Contender("equipoise", name, device, dtype, partial(run, again), strategy, facts))
        return found

    def peers(self, device: str, dtypes: list[str]) -> list[Contender]:
        """PyTorch's lines on one device."""
        place = "cuda" if device == "gpu" else "cpu"
        stored = torch.from_numpy(self.case.pool)
        on_device = {dtype: stored.to(place, dtype) for dtype in {DTYPES[name] for name in dtypes}}
        pinned = self.pinned(stored) if place == "cuda" else {}
        found = [self.numpy_gemm(on_device[torch.float32].numpy())] if place == "cpu" else []
        for name in dtypes:
            say(f"{self.case.shape}: PyTorch {device} {name}: looking for its best settings")
            dtype = DTYPES[name]
            torch.backends.cuda.matmul.allow_tf32 = name == "tf32"
            head = Head.of(self.case, self.definition.gaps, place, dtype)
            settings = vectorised.tune(on_device[dtype], head, self.case)
            found.append(self.torch_gemm(on_device[dtype], head, device, name))
            sources = {"resident": vectorised.resident(on_device[dtype])}
            if dtype in pinned:
                sources["streamed"] = vectorised.streamed(pinned[dtype], dtype)
            for source, chunks in sources.items():
                for strategy in self.options.strategies:
                    found.append(self.vectorised(strategy, source, chunks, head, settings, device, name))
        if self.options.published_rows != 0:
            found.append(self.published(on_device[torch.float32], device))
        return found

    def pinned(self, stored: torch.Tensor) -> dict[torch.dtype, torch.Tensor]:
        """Host copies for streaming, by dtype computed with: whatever moves fewest bytes."""
        half = stored.half().pin_memory()
        return {torch.float16: half, torch.float32: half if stored.dtype == torch.float16 else stored.pin_memory()}

    def vectorised(
        self, strategy: str, source: str, chunks: Chunks, head: Head, settings: Settings, device: str, dtype: str
    ) -> Contender:
        """One strategy in PyTorch, warmed up."""

        def run() -> tuple[float, object]:
            torch.backends.cuda.matmul.allow_tf32 = dtype == "tf32"
            return vectorised.timed(lambda: vectorised.select(strategy, chunks, head, self.case, settings))

        run()
        facts = {"source": source, **vars(settings)}
        return Contender("torch", f"PyTorch {strategy}, {source}", device, dtype, run, strategy, facts)

    def torch_gemm(self, pool: torch.Tensor, head: Head, device: str, dtype: str) -> Contender:
        """The product alone, with the fastest of the chunks."""
        chunks = vectorised.resident(pool)
        sizes = vectorised.CHUNKS[pool.device.type]
        chunk = vectorised.fastest(sizes, lambda rows: vectorised.product(chunks, head, rows))

        def run() -> tuple[float, object]:
            torch.backends.cuda.matmul.allow_tf32 = dtype == "tf32"
            return vectorised.timed(lambda: vectorised.product(chunks, head, chunk))

        return Contender("gemm", "GEMM alone, PyTorch", device, dtype, run, facts={"chunk": chunk})

    def numpy_gemm(self, pool: np.ndarray) -> Contender:
        """The product alone by numpy's BLAS, with the fastest of the chunks."""
        weight = self.case.weight.T

        def multiply(chunk: int) -> None:
            out = np.empty((chunk, weight.shape[1]), np.float32)
            for first in range(0, len(pool), chunk):
                part = pool[first : first + chunk]
                np.matmul(part, weight, out=out[: len(part)])

        chunk = vectorised.fastest(vectorised.CHUNKS["cpu"], multiply)

        def run() -> tuple[float, object]:
            return vectorised.timed(lambda: multiply(chunk))

        return Contender("gemm", "GEMM alone, numpy", "cpu", "f32", run, facts={"chunk": chunk})

    def published(self, pool: torch.Tensor, device: str) -> Contender:
        """Scores of the first rows, extrapolated to the pool; no picking."""
        shape = self.case.shape
        rows = self.options.published_rows or published.rows_that_fit(shape.classes, shape.dim)
        x = pool[: min(rows, shape.rows)]
        weight, bias = (torch.from_numpy(a).to(pool.device) for a in (self.case.weight, self.case.bias))

        def run() -> tuple[float, object]:
            torch.backends.cuda.matmul.allow_tf32 = False
            seconds, scores = vectorised.timed(lambda: published.base_scores(x, weight, bias))
            facts["measured_seconds"].append(seconds)
            return seconds * shape.rows / len(x), scores

        facts = {"extrapolated_from_rows": len(x), "measured_seconds": []}
        say(f"{shape}: the published formulation on {len(x):,} rows")
        scores = run()[1].double().cpu().numpy()
        facts["measured_seconds"].clear()
        exact = self.definition.base(self.definition.logits(slice(0, len(x))))
        facts["largest_error"] = float(np.abs(scores - exact).max() / exact.max())
        return Contender("published", "Published BASE, EXTRAPOLATED", device, "f32", run, facts=facts)


def compete(contenders: list[Contender], repeats: int) -> None:
    """All in turn, again and again, so that drift hits all alike."""
    for repeat in range(repeats):
        say(f"repeat {repeat + 1} of {repeats}")
        for contender in contenders:
            contender.measure()


def truths(contest: Contest, contenders: list[Contender]) -> tuple[dict[str, np.ndarray], list[str]]:
    """What PyTorch's picks are held against, by strategy; and what is wrong with Equipoise's."""
    check, shape = contest.options.check, contest.case.shape
    found, wrong = {}, []
    if check == "none":
        return found, wrong
    for strategy in contest.options.strategies:
        ours = [c for c in contenders if c.kind == "equipoise" and c.strategy == strategy]
        if check == "full":
            say(f"{shape}: {strategy} by definition")
            found[strategy] = contest.definition.picks(strategy)
        else:
            found[strategy] = ours[0].rows
        for each in ours:
            fault = None
            if check == "picks":
                fault = product.wrong_scores(each.result, strategy, contest.definition)
            fault = fault or product.wrong_picks(each.result, strategy, found[strategy], shape)
            if fault:
                wrong.append(f"{shape}: {each.what} on {each.device}: {fault}")
    return found, wrong


def say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)
