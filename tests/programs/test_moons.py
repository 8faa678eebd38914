#!/usr/bin/env python3
"""unetstar-moons from end to end: what it prints and writes, the same bytes everywhere, what sum and star reach.

    test_moons.py UNETSTAR_MOONS CHECK_MOONS
"""
import csv
import json
import math
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "layouts"))
from checks import Checks, read, run  # noqa: E402

MOONS, CHECK = sys.argv[1:3]
checks = Checks()
top = tempfile.mkdtemp(prefix="unetstar-moons-")
PART = int(os.environ.get("UNETSTAR_TEST_PART", "1"))  # above 1: a sample of what takes long (tests/api/part.h)
TINY = ["--width", 8, "--depth", 2, "--epochs", 10, "--seeds", 2, "--test-points", 200]
FILES = ("moons.png", "accuracy.csv", "accuracy.json")
USUAL = ["sum", "sum-one", "sum-both", "plain", "polynomial", "star", "star-one", "star-both", "best", "gaussian"]


def at(*parts):
    return os.path.join(top, *parts)


def one_line(name, result, code, *needles):
    lines = result[2].splitlines()
    checks.check(name, result[0] == code and len(lines) == 1 and lines[0].startswith("unetstar-moons: ")
                 and all(n in lines[0] for n in needles), "exit %d, %s" % (result[0], result[2]))


def files(folder):
    return [read(os.path.join(folder, name)) for name in FILES]


def means(folder):
    return {v["name"]: v["held_out"]["mean"] for v in json.loads(read(os.path.join(folder, "accuracy.json")))["variants"]}


# ---- Its parts ----

code, out, error = run(CHECK)
for line in out.splitlines():
    checks.check(line[8:], line.startswith("ok"))
checks.check("all parts", code == 0 and "optimal" in out, error)

# ---- The points, by another way: SplitMix64's finaliser, Box and Muller, and the C library's functions ----

MASK, GOLDEN = (1 << 64) - 1, 0x9E3779B97F4A7C15


def mix(z):
    z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ z >> 27) * 0x94D049BB133111EB) & MASK
    return z ^ z >> 31


def uniform(seed, stream, index):
    key = mix((seed + GOLDEN) & MASK) + stream * GOLDEN & MASK
    return ((mix(mix(key) + (index + 1) * GOLDEN & MASK) >> 12) + 0.5) / 2**52


def normal(seed, stream, index):
    return math.sqrt(-2 * math.log(uniform(seed, stream, 2 * index))) * math.cos(
        2 * math.pi * uniform(seed, stream, 2 * index + 1))


worst, lines = 0.0, run(CHECK, "points", 12345)[1].splitlines()
for i, line in enumerate(lines):
    x, y, label = line.split()
    t = math.pi * (i % 50) / 49
    u, v = (1 - math.cos(t), 0.5 - math.sin(t)) if i >= 50 else (math.cos(t), math.sin(t))
    worst = max(worst, abs(float(x) - u - 0.4 * normal(12345, 1, 2 * i)),
                abs(float(y) - v - 0.4 * normal(12345, 1, 2 * i + 1)), 0 if int(label) == (i >= 50) else 9)
checks.check("the points are those of make_moons with this generator", len(lines) == 100 and worst < 1e-6, worst)

# ---- Help and wrong use ----

code, out, error = run(MOONS, "--help")
checks.check("--help", code == 0 and not error and out.index("Examples:") < out.index("Options") and "Exit codes" in out
             and max(map(len, out.splitlines())) <= 120 and all(name in out for name in USUAL))
checks.check("--version", run(MOONS, "--version")[1].startswith("unetstar-moons "))
one_line("an unknown option, the nearest named", run(MOONS, "--widht", 3), 2, "--width")
one_line("a value out of range", run(MOONS, "--noise", -1), 2, "--noise")
one_line("an operand", run(MOONS, "data"), 2, "data")
one_line("an unknown variant", run(MOONS, "--variants", "sum,product"), 2, "product", "star")
one_line("a variant twice", run(MOONS, "--variants", "sum,sum"), 2, "twice")
one_line("an empty variant", run(MOONS, "--variants", "sum,"), 2, "--variants")
one_line("a batch of more points than there are", run(MOONS, "--points", 20), 2, "--batch 32", "20")
one_line("a folder that cannot be made", run(MOONS, *TINY, "-o", os.path.join(MOONS, "x")), 1, MOONS)

# ---- What it writes ----

code, out, error = run(MOONS, *TINY, "-o", at("a"))
checks.check("a run ends", code == 0 and "Wrote" in error and "\r" not in error, error)
checks.check("and prints a line a variant", len(out.splitlines()) == 1 + len(USUAL) and "star, no activation" in out, out)
report = json.loads(read(at("a", "accuracy.json")))
checks.check("JSON: variants and settings", [v["name"] for v in report["variants"]] == USUAL
             and report["settings"]["width"] == 8 and report["settings"]["learning_rate"] == 0.003)
with open(at("a", "accuracy.csv"), newline="") as stream:
    rows = list(csv.DictReader(stream))
checks.check("CSV: a row a variant and seed", len(rows) == 2 * len(USUAL) and {r["seed"] for r in rows} == {"1", "2"})
star = [float(r["held_out_accuracy"]) for r in rows if r["variant"] == "star"]
told = next(v for v in report["variants"] if v["name"] == "star")
checks.check("mean and deviation are those of the rows", abs(told["held_out"]["mean"] - sum(star) / 2) < 1e-6
             and abs(told["held_out"]["sd"] - abs(star[0] - star[1]) / math.sqrt(2)) < 1e-6, told["held_out"])
# Stem 2 -> 8, two blocks of norm, 8 -> 24 twice, 24 -> 8, norm, 8 -> 2.
checks.check("parameters", told["parameters"] == 24 + 2 * (16 + 2 * 216 + 200) + 16 + 18, told["parameters"])
data = read(at("a", "moons.png"))
checks.check("PNG", data[:8] == b"\x89PNG\r\n\x1a\n" and struct.unpack(">II", data[16:24])[0] == 2 * 24 + 5 * 300 + 4 * 22)
code, out, error = run(MOONS, *TINY, "-o", at("few"), "--variants", "star,best", "--no-picture", "--quiet", "--seeds", 1)
checks.check("some variants, quiet, no picture", code == 0 and not error and len(out.splitlines()) == 3
             and sorted(os.listdir(at("few"))) == ["accuracy.csv", "accuracy.json"], out)

# ---- The same bytes ----

reference = files(at("a"))
ways = [("again", [], None), ("two threads", ["--threads", 2], None), ("three threads", ["--threads", 3], None),
        ("plain C", [], "reference"), ("plain C with FMA", [], "reference+fma"), ("AVX2 at most", [], "avx2")]
for name, options, isa in ways if PART == 1 else ways[2:4]:
    environment = dict(os.environ, UNETSTAR_ISA=isa) if isa else None
    code, _, error = run(MOONS, *TINY, "-o", at("b"), *options, env=environment)
    checks.check("same files: " + name, code == 0 and files(at("b")) == reference, error[-200:])
run(MOONS, *TINY, "-o", at("b"), "--seed", 2)
checks.check("another seed is another result", files(at("b"))[0] != reference[0])

# ---- What sum and star reach ----

if PART == 1:
    code, _, error = run(MOONS, "--variants", "linear,sum,star,best", "--no-norm", "--noise", 0.15, "--width", 16, "--seeds", 3,
                         "--learning-rate", 0.03, "--epochs", 100, "--no-picture", "-o", at("c"))
    reached = means(at("c"))
    checks.check("sum without activation is as good as a line", abs(reached["sum"] - reached["linear"]) < 0.02
                 and 0.8 < reached["sum"] < 0.91, reached)
    checks.check("star without activation is better", reached["star"] > reached["sum"] + 0.05, reached)
    checks.check("nobody is better than the best", max(reached.values()) == reached["best"], reached)
code, out, error = run(MOONS, "--variants", "star", "--no-norm", "--learning-rate", 100, "--clip", 0, "--optimizer", "sgd",
                       "--no-picture", "-o", at("d"), "--seeds", 1)
checks.check("a training that overflows is told", code == 0 and "1 of 1 did not end" in out, out)

# ---- Interrupted ----

process = subprocess.Popen([MOONS, "--width", "400", "-o", at("cut")], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                           text=True)
while not os.path.isdir(at("cut")):
    time.sleep(0.05)
time.sleep(0.5)
process.send_signal(signal.SIGINT)
out, error = process.communicate(timeout=100)
checks.check("Ctrl-C: 130, one line, no file", process.returncode == 130 and len(error.splitlines()) == 1
             and not out and not os.listdir(at("cut")), "exit %d, %s" % (process.returncode, error))

shutil.rmtree(top)
checks.finish()
