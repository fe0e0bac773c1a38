#!/usr/bin/env python3
"""Writes embeddings.safetensors, and into its metadata the names and shapes of the weights: what timm's and torchvision's networks make of weights and images that a formula gives.

The test makes the same weights and images by the same formula, so that only embeddings need be kept.
Needs torch, torchvision, timm, numpy and safetensors; written with torch 2.11, torchvision 0.26, timm 1.0.31.
"""
import json
import math
from pathlib import Path

import numpy as np
import timm
import torch
import torchvision
from safetensors.numpy import save_file


def uniform(name: str, count: int) -> np.ndarray:
    """Numbers in −½..½: a hash of the name and the place."""
    seed = 2166136261
    for byte in name.encode():
        seed = (seed ^ byte) * 16777619 % 2**32
    x = np.arange(count, dtype=np.uint32) * np.uint32(2654435761) + np.uint32(seed)
    x ^= x >> np.uint32(15)
    x *= np.uint32(0x2C1B3C6D)
    x ^= x >> np.uint32(12)
    x *= np.uint32(0x297A2D39)
    x ^= x >> np.uint32(15)
    return (x.astype(np.float64) / 2**32 - 0.5).astype(np.float32)


def values(name: str, shape: tuple[int, ...]) -> np.ndarray:
    u = uniform(name, math.prod(shape)).reshape(shape)
    if name.endswith("gamma"):
        return np.float32(0.5) + np.float32(0.5) * u
    if len(shape) == 1 and name.endswith((".weight", "running_var")):
        return np.float32(1) + np.float32(0.5) * u
    if len(shape) == 1:
        return np.float32(0.2) * u
    if "token" in name or "pos_embed" in name:
        return u
    return u * np.float32(math.sqrt(12 / math.prod(shape[1:])))


shapes: dict[str, dict[str, list[int]]] = {}


def embedding(case: str, network: torch.nn.Module, side: int) -> np.ndarray:
    state = network.state_dict()
    shapes[case] = {name: list(tensor.shape) for name, tensor in state.items() if tensor.dtype.is_floating_point}
    for name, tensor in state.items():
        if tensor.dtype.is_floating_point:
            state[name] = torch.from_numpy(values(name, tuple(tensor.shape)))
    network.load_state_dict(state)
    images = torch.from_numpy(2 * uniform("images", 2 * 3 * side * side).reshape(2, 3, side, side))
    with torch.no_grad():
        return network.eval()(images).numpy()


def vit(case: str, name: str, side: int, **options) -> np.ndarray:
    return embedding(case, timm.create_model(name, num_classes=0, dynamic_img_size=True, **options), side)


def resnet(case: str, side: int) -> np.ndarray:
    network = getattr(torchvision.models, case)()
    network.fc = torch.nn.Identity()
    return embedding(case, network, side)


def torchvision_vit(case: str, side: int) -> np.ndarray:
    network = torchvision.models.VisionTransformer(side, 16, 12, 6, 384, 1536, num_classes=1)
    network.heads = torch.nn.Identity()
    return embedding(case, network, side)


makers = {
    "resnet34": lambda case: resnet(case, 64),
    "wide_resnet50_2": lambda case: resnet(case, 64),
    "vit_small_patch16": lambda case: vit(case, "vit_small_patch16_224", 224),
    "vit_small_patch16, smaller image": lambda case: vit(case, "vit_small_patch16_224", 80),
    "vit_small_patch16, larger image": lambda case: vit(case, "vit_small_patch16_224", 256),
    "vit_small_patch16, mean": lambda case: vit(case, "vit_small_patch16_224", 80, global_pool="avg", fc_norm=False),
    "vit_small_patch16, mean normalised": lambda case: vit(case, "vit_small_patch16_224", 80, global_pool="avg", fc_norm=True),
    "vit_small_patch16, 12 heads": lambda case: vit(case, "vit_small_patch16_224", 80, num_heads=12),
    "vit_small_patch8": lambda case: vit(case, "vit_small_patch8_224", 64),
    "vit_small_patch14, registers": lambda case: vit(case, "vit_small_patch14_reg4_dinov2", 98),
    "vit_small_patch16, torchvision": lambda case: torchvision_vit(case, 80),
}
cases = {case: np.ascontiguousarray(make(case)) for case, make in makers.items()}
metadata = {case: json.dumps(shapes[case], separators=(",", ":")) for case in cases}
save_file(cases, Path(__file__).with_name("embeddings.safetensors"), metadata)
for case, x in cases.items():
    print(f"{case:<36} {x.shape} largest {np.abs(x).max():.3f}")
