#!/usr/bin/env python3
"""Writes pillow.safetensors: what Pillow's Image.resize makes of images that a formula gives.

The test in src/resample.rs makes the same images. Needs Pillow, numpy and safetensors; written with Pillow 13.0.
"""
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

SIZES = [
    ((61, 47), (29, 22)), ((61, 47), (60, 46)), ((30, 20), (45, 30)), ((17, 5), (17, 40)), ((5, 17), (40, 17)),
    ((1, 1), (7, 3)), ((97, 3), (6, 6)), ((3, 200), (4, 9)), ((64, 64), (1, 1)), ((40, 31), (13, 31)),
]  # fmt: skip


def image(width: int, height: int) -> np.ndarray:
    """Edges and noise: bits of the product of the place and an odd number."""
    place = np.arange(width * height * 3, dtype=np.uint32)
    noise = (place * np.uint32(2654435761)) >> np.uint32(24)
    edge = np.where((place // np.uint32(9)) % np.uint32(4) == 0, np.uint32(255), noise)
    return edge.astype(np.uint8).reshape(height, width, 3)


made = {}
for (width, height), size in SIZES:
    for name, kind in [("bilinear", Image.BILINEAR), ("bicubic", Image.BICUBIC)]:
        resized = Image.fromarray(image(width, height)).resize(size, kind)
        made[f"{width} {height} {size[0]} {size[1]} {name}"] = np.array(resized)
save_file(made, Path(__file__).with_name("pillow.safetensors"))
