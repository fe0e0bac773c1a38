"""What the comparisons conclude, on cases small enough to see. Needs numpy and safetensors, and no PyTorch.

    cd benches/peers && python3 -m unittest test_peers
"""
from __future__ import annotations

import unittest
from argparse import Namespace
from dataclasses import replace
from unittest import mock

import numpy as np

import case
import environment
import in_turn
import peers
import product
from definition import Definition
from product import Answer
from shape import Shape

SHAPE = Shape(300, 8, 5, 23)
STRATEGIES = ["base", "mase", "margin"]


class Picks(unittest.TestCase):
    """Answers are held against the definition."""

    def setUp(self) -> None:
        self.definition = Definition(case.make(SHAPE, 0, 1))

    def right(self, strategy: str) -> Answer:
        """What Equipoise has to answer."""
        rows, slots = self.definition.picks(strategy), product.slots_expected(strategy, SHAPE)
        scores = self.definition.scores(strategy)(self.definition.logits(rows))
        return Answer({}, rows, slots, scores[np.arange(len(rows)), [int(slot or 0) for slot in slots]])

    def faults(self, strategy: str, answer: Answer) -> list[str | None]:
        """By the definition's picks, and by what the picked rows alone tell."""
        truth = self.definition.picks(strategy)
        return [product.wrong_picks(answer, strategy, truth, SHAPE), product.wrong_scores(answer, strategy, self.definition)]

    def test_the_definition_is_right(self) -> None:
        for strategy in STRATEGIES:
            self.assertEqual(self.faults(strategy, self.right(strategy)), [None, None], strategy)

    def test_two_in_another_order_are_wrong(self) -> None:
        for strategy in STRATEGIES:
            right = self.right(strategy)
            order = np.arange(SHAPE.budget)
            order[[1, 2]] = 2, 1
            by_rank, by_score = self.faults(strategy, replace(right, rows=right.rows[order], scores=right.scores[order]))
            self.assertIn("2 picks differ; rank 2 is row", by_rank)
            self.assertEqual(by_score, "scores fall within a class")

    def test_a_row_that_is_not_the_definitions_is_wrong(self) -> None:
        for strategy in STRATEGIES:
            right = self.right(strategy)
            rows = right.rows.copy()
            rows[-1] = np.setdiff1d(np.arange(SHAPE.rows), rows)[0]
            by_rank, by_score = self.faults(strategy, replace(right, rows=rows))
            self.assertIn(f"1 picks differ; rank {SHAPE.budget} is row {rows[-1]}", by_rank)
            self.assertIn("scores are off", by_score)

    def test_a_pick_too_few_and_a_row_twice_are_wrong(self) -> None:
        right = self.right("mase")
        self.assertIn("22 picks, the definition has 23", self.faults("mase", replace(right, rows=right.rows[:-1]))[0])
        twice = np.append(right.rows[:-1], right.rows[0])
        self.assertIn("rows picked twice", self.faults("mase", replace(right, rows=twice))[1])

    def test_another_class_is_wrong(self) -> None:
        right = self.right("base")
        by_rank, by_score = self.faults("base", replace(right, slots=right.slots[::-1]))
        self.assertEqual(by_rank, "the right rows, but under other classes")
        self.assertIn("quotas not kept", by_score)

    def test_chunks_do_not_matter(self) -> None:
        whole = {strategy: self.definition.picks(strategy).tolist() for strategy in STRATEGIES}
        self.definition.chunk = 7
        self.assertEqual({strategy: self.definition.picks(strategy).tolist() for strategy in STRATEGIES}, whole)


class Ratios(unittest.TestCase):
    """in_turn.py's table."""

    def test_they_are_to_the_faster_product_and_to_equipoise(self) -> None:
        times = {
            ("gemm", "numpy"): [0.2, 0.1, 0.3], ("gemm", "PyTorch"): [0.4, 0.4, 0.1],
            ("equipoise", "base"): [0.5, 0.1, 0.3], ("torch", "base"): [0.6, 0.6, 0.6],
        }  # fmt: skip
        found = in_turn.lines(times)
        medians = [line["median"] for line in found]
        self.assertEqual(medians, [0.2, 0.4, 0.3, 0.6])
        self.assertEqual([line["ratio_to_gemm"] for line in found], [each / 0.2 for each in medians])
        self.assertEqual([line["ratio_to_equipoise"] for line in found], [None, None, 1.0, 2.0])
        self.assertEqual(in_turn.table(found)[-1].split(), "PyTorch base 600.0 600.0 to 600.0 3.00 2.00".split())


class Cuda(unittest.TestCase):
    """Where PyTorch has to have it, and what is installed."""

    def test_it_is_needed_where_a_gpu_is_asked_for_or_there(self) -> None:
        cases = [
            (["gpu"], False, False, True), (["cpu", "gpu"], False, False, True), (["gpu"], True, True, False),
            (["cpu"], False, True, False), (None, False, True, True), (None, False, False, False), (None, True, True, False),
        ]  # fmt: skip
        for devices, without, there, needed in cases:
            with mock.patch.object(environment, "nvidia", return_value=there):
                asked = Namespace(devices=devices, without_cuda=without)
                self.assertEqual(peers.needs_cuda(asked), needed, (devices, without, there))

    def test_it_is_installed_where_it_may_be_used(self) -> None:
        for there, needed, index in [
            (False, False, environment.CPU_WHEELS), (True, False, "default"), (False, True, "default"),
        ]:  # fmt: skip
            with mock.patch.object(environment, "nvidia", return_value=there):
                self.assertEqual(environment.choose_index(needed), index)
