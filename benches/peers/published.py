"""BASE as published (arXiv 2111.12880): each row is projected onto each boundary of its class.

Written from the paper's definition. The projections, B x C x M numbers, are materialised, so only
few rows fit; the distance of a row to a boundary is its distance to its projection.
"""
from __future__ import annotations

import torch
from torch import Tensor

# Tensors of size B x C x M alive at once: differences, steps, projections, one temporary.
COPIES = 4
BUDGET = 4 << 30


def rows_that_fit(classes: int, dim: int) -> int:
    """In `BUDGET` bytes of float32."""
    return max(1, BUDGET // (COPIES * 4 * classes * dim))


def base_scores(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """(n, C) from x (n, M), weight (C, M), bias (C)."""
    predicted = torch.addmm(bias, x, weight.t()).argmax(dim=1)
    normals = weight[predicted][:, None, :] - weight
    offsets = bias[predicted][:, None] - bias
    heights = (normals * x[:, None, :]).sum(dim=2) + offsets
    steps = heights / normals.square().sum(dim=2)
    projections = x[:, None, :] - steps[:, :, None] * normals
    distances = (x[:, None, :] - projections).norm(dim=2).nan_to_num(nan=torch.inf)
    own = distances.amin(dim=1, keepdim=True)
    return distances.scatter(1, predicted[:, None], own)
