#!/usr/bin/env python3
"""Makes metrics.gold: scores of pixel sets by scikit-learn. Needs python3-sklearn and numpy, no network.

    /usr/bin/python3 tests/golden/sklearn_cases/make_metrics_golden.py
"""
import os
import sys
import warnings

import numpy as np
from sklearn import metrics as sk

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
from goldfile import uniform, write  # noqa: E402

# Columns of the expected rows; test_metrics_golden.c has the same order.
COLUMNS = ["tp", "fp", "tn", "fn", "roc_auc", "pr_auc", "average_precision", "f1", "accuracy", "sensitivity",
           "specificity", "precision", "mcc", "dice", "iou"]
SKIP = -1.0  # scikit-learn's value is an accident of its implementation (area of a curve without positives)
THRESHOLDS = [0.5, 0.3, 0.7, 0.0, 1.0, 0.123456789]


def scores(p, y, threshold):
    p, y = p.astype(np.float64), (y > 0).astype(int)
    if not len(y):
        return [0, 0, 0, 0, np.nan, SKIP, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    seen = (p >= threshold).astype(int)
    tn, fp, fn, tp = sk.confusion_matrix(y, seen, labels=[0, 1]).ravel()
    roc = sk.roc_auc_score(y, p) if 0 < y.sum() < len(y) else np.nan
    precision, recall, _ = sk.precision_recall_curve(y, p)
    zero = dict(zero_division=0)
    f1 = sk.f1_score(y, seen, **zero)
    return [tp, fp, tn, fn, roc, sk.auc(recall, precision) if y.any() else SKIP,
            sk.average_precision_score(y, p) if y.any() else 0.0, f1, sk.accuracy_score(y, seen),
            sk.recall_score(y, seen, **zero), sk.recall_score(1 - y, 1 - seen, **zero),
            sk.precision_score(y, seen, **zero), sk.matthews_corrcoef(y, seen), f1, sk.jaccard_score(y, seen, **zero)]


def image(seed, n, vessels=0.2, signal=1.5, levels=0, inside=1.0):
    u = uniform(seed, 3 * n).reshape(3, n)
    y = u[0] < vessels
    p = 1 / (1 + np.exp(-(6 * u[1] - 4 + signal * y)))
    if levels:
        p = np.round(p * levels) / levels
    mask = None if inside >= 1 else (u[2] < inside).astype(np.uint8) * 255
    return p.astype(np.float32), y.astype(np.uint8) * 255, mask


def given(p, y, mask=None):
    return (np.array(p, np.float32), np.array(y, np.uint8), None if mask is None else np.array(mask, np.uint8))


def cases():
    ten = np.arange(10) / 10
    return {
        "plain": [image(1, 400), image(2, 233, 0.1), image(3, 57, 0.5, 0.2)],
        "ties": [image(4, 500, levels=10), image(5, 300, levels=3)],
        "masked": [image(6, 400, inside=0.6), image(7, 300, levels=20, inside=0.3), image(8, 50)],
        "saturated": [image(9, 1500, 0.12, 6, levels=2), image(10, 700, 0.12, 6)],
        "constant": [given([0.5] * 20, [1, 0, 0, 0] * 5)],
        "constant_zero": [given([0.0] * 9, [1, 0, 0] * 3)],
        "perfect": [given(ten, ten >= 0.5)],
        "inverted": [given(ten, ten < 0.5)],
        "two_pixels": [given([0.25, 0.75], [0, 1])],
        "two_pixels_tied": [given([0.25, 0.25], [1, 0])],
        "one_pixel": [given([0.9], [1]), given([0.9], [0])],
        "only_vessel": [given([0.1, 0.4, 0.5, 0.9], [1, 1, 1, 1])],
        "only_background": [given([0.1, 0.4, 0.5, 0.9], [0, 0, 0, 0])],
        "one_class_each": [given([0.1, 0.4, 0.6], [0, 0, 0]), given([0.2, 0.6, 0.9], [1, 1, 1])],
        "empty_mask": [given([0.2, 0.8, 0.6], [0, 1, 1], [0, 0, 0]),
                       given([0.2, 0.8, 0.6, 0.1], [0, 1, 0, 1], [1, 1, 1, 0])],
        # thresholds are doubles: .7f < .7 and .3f > .3; zeros of both signs are one score; neighbours are two
        "edges": [given([0.3, 0.7, 0.5, np.nextafter(np.float32(0.5), np.float32(0)), 0.0, -0.0, 1.0, 1e-40, 1e-45,
                         np.nextafter(np.float32(1), np.float32(0))], [1, 1, 0, 1, 0, 1, 1, 0, 1, 0])],
    }


def keep(p, y, mask):
    return (p, y) if mask is None else (p[mask != 0], y[mask != 0])


def main():
    warnings.simplefilter("ignore")
    records = {"thresholds": np.array(THRESHOLDS)}
    for name, images in cases().items():
        for i, (p, y, mask) in enumerate(images):
            records[f"{name}.probability{i}"], records[f"{name}.label{i}"] = p, y
            if mask is not None:
                records[f"{name}.mask{i}"] = mask
        kept = [keep(*im) for im in images]
        p, y = np.concatenate([k[0] for k in kept]), np.concatenate([k[1] for k in kept])
        # rows: pooled, image 0, image 1, ...; in each one row a threshold
        rows = [[scores(*part, t) for t in THRESHOLDS] for part in [(p, y)] + kept]
        records[name + ".expected"] = np.array(rows, dtype=np.float64)
        if 0 < (y > 0).sum() < len(y):
            wide, t = p.astype(np.float64), (y > 0).astype(int)
            fpr, tpr, _ = sk.roc_curve(t, wide, drop_intermediate=False)
            precision, recall, _ = sk.precision_recall_curve(t, wide)
            f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-300)
            records[name + ".best_f1"] = np.array([f1.max()])
            if len(fpr) < 300:  # in order of falling threshold
                records[name + ".roc"] = np.stack([fpr, tpr])
                records[name + ".pr"] = np.stack([recall[::-1], precision[::-1]])
    records["index"] = "".join(name + "\n" for name in cases())
    path = os.path.join(HERE, "metrics.gold")
    write(path, records)
    print(path, os.path.getsize(path))


if __name__ == "__main__":
    main()
