#!/usr/bin/env python3
"""unetstar-inspect from end to end: degrees and dimensions against Python's own arithmetic, what it finds on an image
and a label, the same numbers in the table, CSV and JSON, wrong use.

    test_inspect.py UNETSTAR_INSPECT UNETSTAR_TRAIN UNETSTAR_SEGMENT
"""
import csv
import json
import math
import os
import re
import shutil
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "layouts"))
from checks import Checks, read, run, write  # noqa: E402

INSPECT, TRAIN, SEGMENT = sys.argv[1:4]
checks = Checks()
top = tempfile.mkdtemp(prefix="unetstar-inspect-")


def at(*parts):
    return os.path.join(top, *parts)


def model(name, *options):
    code, _, error = run(TRAIN, "--synthetic", 2, "--synthetic-size", "64x48", "--all", "--narrow", 0.0625, "--patch", 32,
                         "--batch", 2, "--epochs", 1, "--steps", 4, "--validation", "none", "--no-store-threshold",
                         "--quiet", *options, "-o", at(name))
    checks.check("a model: " + name, code == 0, error)
    return at(name, "model.safetensors")


def look(name, *words):
    """Numbers by (part, row, place, name), and what was printed."""
    code, out, error = run(INSPECT, *words, "--csv", at(name + ".csv"), "--json", at(name + ".json"))
    checks.check("it looks: " + name, code == 0 and not error, error)
    with open(at(name + ".csv"), newline="") as stream:
        rows = list(csv.DictReader(stream))
    numbers = {(r["part"], r["row"], r["place"], r["name"]): float(r["value"]) if r["value"] else None for r in rows}
    whole = json.loads(read(at(name + ".json")))
    same = {(n["part"], str(n.get("row", "")), n.get("place", ""), n["name"]): n["value"] for n in whole["numbers"]
            if (n["part"], n["name"]) not in (("memory", "width"), ("memory", "height"))}
    checks.check("CSV and JSON agree: " + name, len(rows) > 10 and same == numbers,
                 [k for k in set(same) | set(numbers) if same.get(k) != numbers.get(k)][:4])
    return numbers, out, whole


def refused(name, result, code, *needles):
    lines = result[2].splitlines()
    checks.check(name, result[0] == code and len(lines) == 1 and lines[0].startswith("unetstar-inspect: ")
                 and all(needle in lines[0] for needle in needles), "exit %d, %s" % (result[0], result[2]))


run(SEGMENT, "--synthetic", 7, "--synthetic-size", "64x48", "-o", at("photo"), "--quiet")
photo, truth = at("photo", "synthetic-7-photo.png"), at("photo", "synthetic-7-truth.png")
checks.check("a photograph and its label", os.path.exists(photo) and os.path.exists(truth))

# ---- Of a model alone ----

star = model("star", "--fusion", "star", "--activation", "none")
numbers, out, whole = look("alone", star)
for k, (width, degree) in enumerate(zip((32, 16, 8), (2, 3, 4))):
    exact = numbers["fusions", str(k), "", "log10_exact"]
    paper = numbers["fusions", str(k), "", "log10_paper"]
    checks.check("fusion %d of %d channels, degree %d" % (k, width, degree),
                 numbers["fusions", str(k), "", "channels"] == width and numbers["fusions", str(k), "", "degree"] == degree
                 and abs(exact - math.log10(math.comb(width + degree, degree))) < 1e-7
                 and abs(paper - 2 ** (k + 1) * math.log10(width / math.sqrt(2))) < 1e-7, (exact, paper))
checks.check("no blanks at the end of a line", not [line for line in out.splitlines() if line != line.rstrip()])
checks.check("degree, options, no image's numbers", numbers["model", "", "", "degree"] == 4
             and whole["options"]["fusion"] == "star" and not any(key[0] in ("features", "gradients") for key in numbers)
             and "Memory to segment 700 x 605" in out and "%d parameters" % numbers["model", "", "", "parameters"] in out)

checks.check("no calibration is spoken of", "8 bits" not in out)
_, out, _ = look("eight", model("eight", "--fusion", "star", "--calibrate", 1))
found = re.search(r"^calibrated for 8 bits, (\d+) of (\d+) convolutions in float$", out, re.M)
checks.check("a calibrated model says so", found and 0 <= int(found[1]) <= int(found[2]) and int(found[2]) > 8, out[:600])

# ---- On an image, and against a label ----

# A network of few steps hardly bends: a wide ray and a small tolerance show what there is.
TWO = ["--side", 16, "--max-degree", 6, "--range", 3, "--tolerance", 1e-12, "--patch", 32, "--patches", 3]
numbers, out, whole = look("two", star, photo, truth, *TWO)
frozen, free = ([numbers["degree_check", str(d), way, "residual"] for d in range(7)] for way in ("frozen", "free"))
checks.check("degree 4 is found with frozen maxima", "frozen maxima: degree 4;" in out and frozen[0] == 1
             and frozen[4] < 1e-12 < frozen[3] and frozen == sorted(frozen, reverse=True), frozen)
checks.check("and none with free ones", "free maxima: no degree up to 6" in out and free[6] > 1e-6, free)
for k, (width, pixels) in enumerate(((32, 8 * 6), (16, 16 * 12), (8, 32 * 24))):
    parts = [{n: numbers["features", str(k), place, n] for n in ("pixels", "channels", "effective_rank", "stable_rank")}
             for place in ("main", "skip", "fused", "output")]
    checks.check("features at fusion %d" % k, all(
        p["pixels"] == pixels and p["channels"] == (width if i < 3 else width / 2)
        and 1 <= p["stable_rank"] <= p["channels"] and 1 <= p["effective_rank"] <= p["channels"]
        for i, p in enumerate(parts)), parts[0])
gradients = [[numbers["gradients", str(k), place, "norm"] for place in ("fused", "main", "skip")] for k in range(3)]
checks.check("gradients arrive at both branches", all(v > 0 for row in gradients for v in row), gradients)
again = run(INSPECT, star, photo, truth, *TWO, "--threads", 1)
checks.check("one thread finds the same", again[0] == 0  # the scratch memory is of all threads
             and again[1].split("Fusions")[1] == out.split("Fusions")[1])

numbers, out, _ = look("sum", model("sum", "--fusion", "sum", "--activation", "relu"), photo, truth, *TWO)
checks.check("with ReLU there is no degree", "frozen maxima: no degree" in out
             and numbers["fusions", "0", "", "degree"] in (-1, None))
gradients = [[numbers["gradients", str(k), place, "norm"] for place in ("fused", "main", "skip")] for k in range(3)]
checks.check("a sum hands its gradient to both", all(row[0] == row[1] == row[2] > 0 for row in gradients), gradients)
numbers, out, _ = look("norm", model("norm", "--block", "star-depthwise", "--levels", 2, "--fusion-norm"), photo, truth,
                       "--side", 16)
checks.check("a norm reads the fusion", "norm" in out and numbers["gradients", "0", "main", "norm"] > 0, out[-1500:])
checks.check("of a whole image there is one patch", "in 1 patch of 64 x 48 pixels" in out, out[-1500:])
numbers, out, _ = look("block", model("block", "--block", "star", "--levels", 2, "--fusion", "concat"), photo,
                       "--side", 16, "--max-degree", 18, "--range", 30, "--tolerance", 1e-12)
checks.check("star blocks: degree 16, found by numbers too", numbers["model", "", "", "degree"] == 16
             and "frozen maxima: degree 16;" in out, out[-1500:])

# ---- Wrong use, bad input ----

code, out, error = run(INSPECT, "--help")
checks.check("--help", code == 0 and "--max-degree" in out and not error)
refused("no model", run(INSPECT), 2, "name a model")
refused("one file for two", run(INSPECT, star, "--csv", at("x"), "--json", at("x")), 2, "both name")
refused("four names", run(INSPECT, star, photo, truth, photo), 2, "at most")
refused("a model that is not there", run(INSPECT, at("none.safetensors")), 1, "none.safetensors")
refused("no model at all", run(INSPECT, photo), 1, photo)
refused("an image as its own label", run(INSPECT, star, photo, photo), 1, photo, "not its label")
refused("an image that is not there", run(INSPECT, star, at("none.png")), 1, "none.png")
write(at("label.pgm"), b"P5 8 8 255\n" + bytes(64))
refused("a label of another size", run(INSPECT, star, photo, at("label.pgm")), 1, "label.pgm", "64", "8")
os.mkfifo(at("pipe"))
refused("a pipe is not replaced", run(INSPECT, star, "--json", at("pipe")), 1, "not a regular file")
write(at("real", "old.json"), b"old")
os.symlink(at("real", "old.json"), at("link.json"))
code, out, error = run(INSPECT, star, "--json", at("link.json"))
checks.check("a link stays a link", code == 0 and os.path.islink(at("link.json"))
             and read(at("real", "old.json")) == read(at("alone.json")) and os.listdir(at("real")) == ["old.json"], error)
shutil.rmtree(top, ignore_errors=True)
checks.finish()
