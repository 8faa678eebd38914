#!/usr/bin/env python3
"""The threshold of a model: chosen on its training images, stored in its file, used by unetstar-segment, asked for in
unetstar-evaluate.

    test_thresholds.py UNETSTAR_TRAIN UNETSTAR_SEGMENT UNETSTAR_EVALUATE
"""
import json
import os
import shutil
import struct
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "layouts"))
import pictures as p  # noqa: E402
from checks import Checks, read, run, write  # noqa: E402

TRAIN, SEGMENT, EVALUATE = sys.argv[1:4]
checks = Checks()
top = tempfile.mkdtemp(prefix="unetstar-thresholds-")
W, H = 72, 60
SHORT = ["--narrow", 0.0625, "--levels", 2, "--patch", 32, "--batch", 2, "--epochs", 2, "--steps", 20]


def at(*parts):
    return os.path.join(top, *parts)


def parts_of(path):
    data = read(path)
    length = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8:8 + length]), data[8 + length:]


def stored(path):
    return parts_of(path)[0]["__metadata__"].get("threshold")


def with_threshold(path, out, text):
    """A copy of a model with another threshold, or none."""
    header, tensors = parts_of(path)
    header["__metadata__"].pop("threshold", None)
    if text is not None:
        header["__metadata__"]["threshold"] = text
    packed = json.dumps(header, separators=(",", ":")).encode()
    packed += b" " * (-len(packed) % 8)
    write(out, struct.pack("<Q", len(packed)) + packed + tensors)
    return out


def report(folder):
    return json.loads(read(os.path.join(folder, "metrics.json")))


for i in range(5):
    write(at("data", "images", f"eye{i}.png"), p.png(W, H, 3, p.photo_bytes(W, H, i)))
    write(at("data", "labels", f"eye{i}.gif"), p.gif(W, H, p.label_bytes(W, H, i)))
IMAGE = at("data", "images", "eye1.png")

# ---- Chosen and stored ----

code, out, error = run(TRAIN, at("data"), *SHORT, "--all", "-o", at("a"))
MODEL = at("a", "model.safetensors")
text = stored(MODEL) if code == 0 else None
value = float(text) if text else 0.0
checks.check("a training stores a threshold between 0 and 1 and prints it", code == 0 and 0 < value < 1
             and "Threshold %.4g" % value in error, "%s, %s" % (text, error[-200:]))
code, out, error = run(EVALUATE, MODEL, at("data"), "--all", "-o", at("e"))
best = report(at("e"))
checks.check("it is the one with the best pooled F1 on the training images", abs(best["best_f1"]["threshold"] - value)
             < 1e-8, best["best_f1"])
checks.check("an evaluation measures at 0.5 and tells both", best["pooled"]["threshold"] == 0.5
             and abs(best["at_stored_threshold"]["f1"] - best["best_f1"]["f1"]) < 1e-8
             and "stored in the model" in out, out[-200:])
code, out, error = run(EVALUATE, MODEL, at("data"), "--all", "--threshold", "model", "-o", at("e2"))
again = report(at("e2"))
checks.check("--threshold model", code == 0 and abs(again["pooled"]["threshold"] - value) < 1e-8
             and abs(again["pooled"]["f1"] - best["best_f1"]["f1"]) < 1e-8, error)
code, out, error = run(TRAIN, at("data"), *SHORT, "--all", "--no-store-threshold", "--quiet", "-o", at("b"))
PLAIN = at("b", "model.safetensors")
checks.check("--no-store-threshold", code == 0 and stored(PLAIN) is None and parts_of(PLAIN)[1] == parts_of(MODEL)[1],
             error)
code, out, error = run(TRAIN, at("data"), *SHORT, "--folds", 5, "--fold", 0, "--quiet", "-o", at("c"))
checks.check("the table of a training tells both", code == 0 and "stored in the model" in out
             and "at_stored_threshold" in report(at("c")), out[-200:])
empty = at("empty")
for i in range(2):
    write(os.path.join(empty, "images", f"eye{i}.png"), p.png(W, H, 3, p.photo_bytes(W, H, i)))
    write(os.path.join(empty, "labels", f"eye{i}.png"), p.png(W, H, 1, bytes(W * H)))
code, out, error = run(TRAIN, empty, *SHORT, "--all", "--validation", "none", "-o", at("d"))
checks.check("images without a vessel give no threshold", code == 0 and stored(at("d", "model.safetensors")) is None
             and "No threshold" in error, error[-200:])

# ---- Used ----


def vessels(name, *command):
    code_, _, error_ = run(SEGMENT, *command, IMAGE, "-o", at(name))
    return code_, error_, read(at(name, "eye1-vessels.png")) if code_ == 0 else None


code, error, own = vessels("s1", MODEL)
given = vessels("s2", MODEL, "--threshold", text)
checks.check("segmenting takes it", code == 0 and own == given[2] and "%.4g" % value in error
             and "stored in the model" in error and "as given" in given[1], error)
checks.check("--threshold model is the same", vessels("s3", MODEL, "--threshold", "model")[2] == own)
code, error, plain = vessels("s4", PLAIN)
checks.check("without one it is 0.5", code == 0 and plain == vessels("s5", PLAIN, "--threshold", 0.5)[2]
             and ">= 0.5 (the default" in error, error)
low, high = (with_threshold(MODEL, at("low.safetensors"), "0.125"),
             with_threshold(MODEL, at("high.safetensors"), "0.375"))
code, error, _ = vessels("s6", low + "," + high)
checks.check("several models: the mean", code == 0 and ">= 0.25 (the mean" in error, error)
code, error, _ = vessels("s7", low + "," + PLAIN)
checks.check("unless one has none", code == 0 and ">= 0.5 (the default" in error, error)
code, out, error = run(EVALUATE, low + "," + high, at("data"), "--all", "--threshold", "model", "--quiet", "-o",
                       at("e3"))
checks.check("and so evaluates", code == 0 and report(at("e3"))["pooled"]["threshold"] == 0.25, error)
for wrong in ("abc", "0", "1", "0.5x", "nan", ""):
    odd = with_threshold(MODEL, at("odd.safetensors"), wrong)
    code, error, _ = vessels("s8", odd)
    checks.check("a stored threshold that is none, %r, is told" % wrong, code == 1 and '"%s"' % wrong in error
                 and "--threshold" in error and len(error.splitlines()) == 1, error)
    checks.check("and does not matter where one is given", vessels("s9", odd, "--threshold", text)[2] == own)
    code, _, error = run(EVALUATE, odd, at("data"), "--all", "--quiet", "-o", at("e4"))
    checks.check("nor to an evaluation at 0.5", code == 0 and "at_stored_threshold" not in report(at("e4")), error)

# ---- Wrong use ----


def refused(name, result, code_, *needles):
    checks.check(name, result[0] == code_ and len(result[2].splitlines()) == 1
                 and all(needle in result[2] for needle in needles), "exit %d, %s" % (result[0], result[2]))


refused("evaluating at a threshold that is not there",
        run(EVALUATE, PLAIN, at("data"), "--all", "--threshold", "model", "-o", at("e5")), 1, "no threshold", PLAIN)
refused("or without a model", run(EVALUATE, "--predictions", at("data", "images"), at("data"), "--threshold", "model"), 2,
        "needs a model")
refused("neither number nor word", run(SEGMENT, MODEL, IMAGE, "--threshold", "modell"), 2, "modell", "the word model")
refused("a training has no threshold before", run(TRAIN, at("data"), "--threshold", "model"), 2, "not a number")

# ---- Prepared for 8 bits ----

code, out, error = run(TRAIN, at("data"), *SHORT, "--all", "--calibrate", 2, "-o", at("eight"))
checks.check("--calibrate says what it does and keeps the threshold", code == 0 and "Calibrating" in error
             and stored(at("eight", "model.safetensors")) == text, error[-200:])
for precision in ("fast", "int8"):
    code, out, error = run(SEGMENT, at("eight", "model.safetensors"), IMAGE, "--precision", precision, "-o",
                           at("eight-" + precision))
    checks.check(f"--precision {precision} of a calibrated model", code == 0, error)
checks.check("8 bits are other arithmetic", read(at("eight-fast", "eye1-probability.png"))
             != read(at("eight-int8", "eye1-probability.png")))

shutil.rmtree(top, ignore_errors=True)
checks.finish()
