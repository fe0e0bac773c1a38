"""Equipoise itself, run as a user runs it, and the checks of its picks."""
from __future__ import annotations

import csv
import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from definition import Definition
from shape import Failure, Shape

# Scores in PICKS.csv against float64 products by BLAS, relative to the largest.
SCORE_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Answer:
    """What one `select` said and picked."""

    report: dict
    rows: np.ndarray
    slots: list[str]
    scores: np.ndarray

    @property
    def clock(self) -> str:
        """The scan alone where the binary tells it, else the whole command."""
        return "scan_seconds" if "scan_seconds" in self.report else "seconds"

    @property
    def seconds(self) -> float:
        return self.report[self.clock]


class Equipoise:
    """The binary, with a pool and a head it has as files."""

    def __init__(self, binary: Path, threads: int | None, pool: Path, head: Path) -> None:
        self.binary = binary
        self.inputs = ["--embeddings", str(pool), "--head", str(head)]
        self.picks = pool.with_name("picks.csv")
        # The same head under other names: more selections of the same process.
        self.again = [head.with_name(f"{name}.safetensors") for name in ("second", "third")]
        for copy in self.again:
            shutil.copyfile(head, copy)
        self.threads = ["--threads", str(threads)] if threads else []

    def select(self, strategy: str, device: str, budget: int, *more: str, again: bool = False) -> Answer:
        """Runs `equipoise select`, with `more` arguments, on files that are in memory: what has idled for some seconds
        some systems page out. `again` selects three times, and answers about the third time."""
        for path in self.inputs[1::2]:
            with open(path, "rb") as file:
                while file.read(1 << 24):
                    pass
        heads = [word for copy in self.again for word in ("--head", str(copy))] if again else []
        report = call(
            self.binary, "select", *self.inputs, *heads, "--strategy", strategy, "--budget", str(budget),
            "--device", device, *self.threads, "--out", str(self.picks), "--force", "--quiet", *more,
        )  # fmt: skip
        written = self.picks.with_suffix(f".{self.again[-1].stem}.csv") if again else self.picks
        with open(written, newline="") as file:
            picks = list(csv.DictReader(file))
        rows = np.array([int(pick["row"]) for pick in picks])
        # Only a pick before which there was no centre has none.
        scores = np.array([float(pick["score"] or "nan") for pick in picks])
        return Answer(report, rows, [pick["class"] for pick in picks], scores)


def call(binary: Path, *arguments: str) -> dict:
    """Runs the binary; returns its JSON, the last of several."""
    return answered(binary, *arguments, "--json")


def answered(program: Path | str, *arguments: str) -> dict:
    """Runs a program; returns the JSON of the last line that it prints."""
    done = subprocess.run([program, *arguments], capture_output=True, text=True)
    if done.returncode:
        said = " ".join(done.stderr.split()) or "it said nothing"
        raise Failure(f"{program} {arguments[0]} ended with {done.returncode}: {said}")
    return json.loads(done.stdout.splitlines()[-1])


def slots_expected(strategy: str, shape: Shape) -> list[str]:
    """PICKS.csv's column `class`: the class that claimed the row, for BASE only."""
    if strategy != "base":
        return [""] * shape.budget
    return [str(c) for c, quota in enumerate(shape.quotas()) for _ in range(quota)]


def wrong_picks(answer: Answer, strategy: str, truth: np.ndarray, shape: Shape) -> str | None:
    """Says where picks and definition part, if they do."""
    if len(answer.rows) != len(truth):
        return f"{len(answer.rows)} picks, the definition has {len(truth)}"
    differing = np.flatnonzero(answer.rows != truth)
    if differing.size:
        at = differing[0]
        return f"{differing.size} picks differ; rank {at + 1} is row {answer.rows[at]}, by definition {truth[at]}"
    if answer.slots != slots_expected(strategy, shape):
        return "the right rows, but under other classes"
    return None


def wrong_scores(answer: Answer, strategy: str, definition: Definition) -> str | None:
    """What can be told from the picked rows alone: quotas, order and scores."""
    shape = definition.case.shape
    if len(set(answer.rows.tolist())) != shape.budget or answer.slots != slots_expected(strategy, shape):
        return "rows picked twice, or quotas not kept"
    columns = np.array([int(slot or 0) for slot in answer.slots])
    expected = np.empty(shape.budget)
    for first in range(0, shape.budget, definition.chunk):
        part = slice(first, first + definition.chunk)
        scores = definition.scores(strategy)(definition.logits(answer.rows[part]))
        expected[part] = scores[np.arange(len(scores)), columns[part]]
    off = np.abs(answer.scores - expected).max() / np.abs(expected).max()
    if not off <= SCORE_TOLERANCE:
        return f"scores are off by {off:.1e} relative to the largest"
    falls = (np.diff(answer.scores) < 0) & (np.diff(columns) == 0)
    return "scores fall within a class" if falls.any() else None
