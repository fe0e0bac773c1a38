"""What coreset and badge are compared with: scikit-activeml, and the published formulations in PyTorch.

The published formulations are written from the papers: k-center greedy over a matrix of all pairs of distances (arXiv
1708.00489), k-means++ over explicit gradient embeddings (arXiv 1906.03671).
"""
from __future__ import annotations

import numpy as np
import torch
from skactiveml.base import SkactivemlClassifier
from skactiveml.pool import Badge, CoreSet

from case import Case
from shape import Shape


def bytes_needed(name: str, strategy: str, shape: Shape) -> int:
    """Of the largest tensors."""
    if strategy == "badge":
        # scikit-activeml's are float64, one copy for distances.
        return shape.rows * shape.classes * shape.dim * (16 if name == "skactiveml" else 4)
    return shape.rows * shape.budget * 8 if name == "skactiveml" else shape.rows**2 * 4


def targets(case: Case, labelled: np.ndarray) -> np.ndarray:
    """Class 0 for labelled rows; the others miss theirs."""
    y = np.full(case.shape.rows, np.nan)
    y[labelled] = 0
    return y


class Fixed(SkactivemlClassifier):
    """The head, which needs no fitting."""

    def __init__(self, case: Case | None = None, classes=None, missing_label=np.nan, cost_matrix=None, random_state=None):
        super().__init__(classes=classes, missing_label=missing_label, cost_matrix=cost_matrix, random_state=random_state)
        self.case = case

    def fit(self, X, y, sample_weight=None):
        return self

    def predict_proba(self, X):
        return probabilities(self.case, torch.from_numpy(np.asarray(X, np.float32))).numpy().astype(np.float64)


def probabilities(case: Case, x: torch.Tensor) -> torch.Tensor:
    weight, bias = torch.from_numpy(case.weight), torch.from_numpy(case.bias)
    return torch.softmax(torch.addmm(bias, x, weight.t()), dim=1)


def skactiveml_coreset(case: Case, labelled: np.ndarray, budget: int) -> np.ndarray:
    query = CoreSet(random_state=0)
    return np.asarray(query.query(case.pool, targets(case, labelled), batch_size=budget))


def skactiveml_badge(case: Case, labelled: np.ndarray, budget: int) -> np.ndarray:
    clf = Fixed(case, classes=list(range(case.shape.classes)))
    query = Badge(random_state=0)
    return np.asarray(query.query(case.pool, targets(case, labelled), clf, fit_clf=False, batch_size=budget))


def published_coreset(case: Case, labelled: np.ndarray, budget: int) -> np.ndarray:
    """All pairs first, then the farthest again and again."""
    x = torch.from_numpy(case.pool)
    squares = x.square().sum(dim=1)
    distances = torch.addmm(squares[None, :], x, x.t(), alpha=-2).add_(squares[:, None]).clamp_(min=0).sqrt_()
    nearest = distances[:, torch.from_numpy(labelled)].amin(dim=1)
    picks = []
    for _ in range(budget):
        picks.append(int(nearest.argmax()))
        nearest = torch.minimum(nearest, distances[picks[-1]])
    return np.array(picks)


def published_badge(case: Case, labelled: np.ndarray, budget: int) -> np.ndarray:
    """Gradient embeddings of C x M numbers each."""
    x = torch.from_numpy(case.pool)
    g = probabilities(case, x)
    g[torch.arange(len(g)), g.argmax(dim=1)] -= 1
    embeddings = (g[:, :, None] * x[:, None, :]).flatten(1)
    squares = embeddings.square().sum(dim=1)
    nearest = torch.full((len(x),), torch.inf)

    def add(row: int) -> None:
        products = embeddings @ embeddings[row]
        torch.minimum(nearest, (squares + squares[row] - 2 * products).clamp_(min=0), out=nearest)
        nearest[row] = 0

    for row in labelled.tolist():
        add(row)
    numbers = np.random.default_rng(0)
    picks = []
    for _ in range(budget):
        weights = nearest.double().numpy()
        picks.append(int(numbers.choice(len(x), p=weights / weights.sum())))
        add(picks[-1])
    return np.array(picks)


def coreset_definition(pool: np.ndarray, labelled: np.ndarray, budget: int) -> np.ndarray:
    """k-center greedy in float64; equal distances go to the lowest row."""
    x = pool.astype(np.float64)
    squares = np.einsum("nm,nm->n", x, x)
    nearest = np.full(len(x), np.inf)

    def add(rows: np.ndarray) -> None:
        products = x @ x[rows].T
        np.minimum(nearest, (squares[:, None] + squares[rows] - 2 * products).min(axis=1), out=nearest)
        nearest[rows] = -np.inf

    for part in np.array_split(labelled, max(1, len(labelled) // 256)):
        add(part)
    picks = np.empty(budget, np.int64)
    for rank in range(budget):
        # A product's rounding may turn near-ties around: those are summed as differences.
        close = np.flatnonzero(nearest >= nearest.max() * (1 - 1e-9))
        if len(close) > 1:
            centres = x[np.concatenate([labelled, picks[:rank]])]
            exact = [np.square(x[row] - centres).sum(axis=1).min() for row in close]
            picks[rank] = close[int(np.argmax(exact))]
        else:
            picks[rank] = close[0]
        add(picks[rank : rank + 1])
    return picks


RUN = {
    ("skactiveml", "coreset"): skactiveml_coreset,
    ("skactiveml", "badge"): skactiveml_badge,
    ("published", "coreset"): published_coreset,
    ("published", "badge"): published_badge,
}
