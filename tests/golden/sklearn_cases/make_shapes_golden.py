#!/usr/bin/env python3
"""Makes shapes.gold: clDice with the skeletons of scikit-image and the expected calibration error by numpy. Needs
python3-skimage (0.19.3 here) and numpy, no network.

    /usr/bin/python3 tests/golden/sklearn_cases/make_shapes_golden.py
"""
import os
import sys

import numpy as np
from skimage.morphology import thin

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
from goldfile import uniform, write  # noqa: E402

THRESHOLDS = [0.5, 0.3, 0.7, 0.0, 1.0]


def centerline_counts(p, y, inside, threshold):
    """pixels of the prediction's skeleton, those in the label, and the same the other way round"""
    seen, true = (p.astype(np.float64) >= threshold) & inside, (y > 0) & inside
    a, b = thin(seen) if seen.any() else seen, thin(true) if true.any() else true
    return np.array([a.sum(), (a & true).sum(), b.sum(), (b & seen).sum()], np.float64)


def cl_dice(counts):
    precision = counts[1] / counts[0] if counts[0] else 0.0
    sensitivity = counts[3] / counts[2] if counts[2] else 0.0
    return 2 * precision * sensitivity / (precision + sensitivity) if precision + sensitivity else 0.0


def calibration_error(p, y, bins=15):
    """as in the paper: bins ((m - 1) / M, m / M], and 0 in the first"""
    p, y = p.astype(np.float64), (y > 0).astype(np.float64)
    which = np.clip(np.digitize(p, np.arange(bins + 1) / bins, right=True), 1, bins)
    error = 0.0
    for m in range(1, bins + 1):
        here = which == m
        if here.any():
            error += here.sum() / len(p) * abs(p[here].mean() - y[here].mean())
    return error


def smooth(seed, height, width, radius):
    """noise, blurred by boxes: blobs and bridges of all sizes"""
    noise = uniform(seed, height * width).reshape(height, width)
    if radius == 0:
        return noise
    padded = np.pad(noise, radius, mode="reflect")
    total = np.zeros_like(noise)
    for dy in range(2 * radius + 1):
        for dx in range(2 * radius + 1):
            total += padded[dy:dy + height, dx:dx + width]
    low, high = total.min(), total.max()
    return (total - low) / (high - low) if high > low else total


def image(seed, height, width, radius=2, masked=False):
    field = smooth(seed, height, width, radius)
    p = np.clip(field + 0.2 * (smooth(seed + 100, height, width, radius) - 0.5), 0, 1)
    p = np.round(p * 255) / 255 if seed % 2 else p
    mask = None
    if masked:
        y, x = np.mgrid[:height, :width]
        mask = (((y - height / 2) / (height / 2)) ** 2 + ((x - width / 2) / (width / 2)) ** 2 < 0.9).astype(np.uint8) * 7
    return p.astype(np.float32), (field > 0.5).astype(np.uint8) * 255, mask


def cases():
    solid = np.ones((20, 70), np.float32)
    return {
        "noise": [image(1, 31, 37, 0), image(2, 17, 90, 0)],
        "blobs": [image(3, 40, 130, 2), image(4, 64, 50, 3)],
        "masked": [image(5, 40, 66, 2, True), image(6, 12, 129, 1, True)],
        "lines": [image(7, 1, 200, 0), image(8, 150, 1, 0), image(9, 1, 1, 0), image(10, 2, 65, 0)],
        "solid": [(solid, solid.astype(np.uint8), None), (solid[:9] * 0, solid[:9].astype(np.uint8), None)],
    }


def main():
    records = {"thresholds": np.array(THRESHOLDS), "index": "".join(name + "\n" for name in cases())}
    for name, images in cases().items():
        counts, kept = [], []
        for i, (p, y, mask) in enumerate(images):
            records[f"{name}.probability{i}"], records[f"{name}.label{i}"] = p, y
            if mask is not None:
                records[f"{name}.mask{i}"] = mask
            inside = np.ones(y.shape, bool) if mask is None else mask > 0
            counts.append([centerline_counts(p, y, inside, t) for t in THRESHOLDS])
            kept.append((p[inside], y[inside]))
        counts.insert(0, list(np.sum(counts, axis=0)))  # the row of all images pooled
        kept.insert(0, tuple(np.concatenate(part) for part in zip(*kept)))
        records[name + ".cl_dice"] = np.array([[cl_dice(c) for c in row] for row in counts])
        records[name + ".calibration_error"] = np.array([calibration_error(*k) for k in kept])
    path = os.path.join(HERE, "shapes.gold")
    write(path, records)
    print(path, os.path.getsize(path))


if __name__ == "__main__":
    main()
