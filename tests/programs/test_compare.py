#!/usr/bin/env python3
"""unetstar-compare from end to end: a tiny matrix, stopped and resumed, its records, its report, wrong use.

    test_compare.py UNETSTAR_COMPARE UNETSTAR_TRAIN
"""
import csv
import html.parser
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "layouts"))
from checks import Checks, read, run, write  # noqa: E402
import pictures  # noqa: E402

COMPARE, TRAIN = sys.argv[1:3]
checks = Checks()
top = tempfile.mkdtemp(prefix="unetstar-compare-")
DATA = ["--synthetic", 4, "--synthetic-seed", 4, "--synthetic-size", "80x64", "--folds", 2]
SIZE = ["--narrow", 0.03, "--patch", 32, "--batch", 2]
TINY = DATA + SIZE + ["--epochs", 1, "--steps", 2]
COLUMNS = ["roc_auc", "pr_auc", "f1", "accuracy", "sensitivity", "specificity", "precision", "cl_dice",
           "calibration_error"]
REPORT = ["report.html", "report.json", "tables.csv", "paired.csv", "cost.csv", "learning.csv"]


def at(*parts):
    return os.path.join(top, *parts)


def table(path):
    with open(path, newline="") as stream:
        return list(csv.DictReader(stream))


def same_reports(a, b):
    return [name for name in REPORT if read(os.path.join(a, name)) != read(os.path.join(b, name))]


def refused(name, result, code, *needles):
    lines = result[2].splitlines()
    checks.check(name, result[0] == code and lines and lines[-1].startswith("unetstar-compare: ")
                 and all(needle in lines[-1] for needle in needles) and (code != 2 or len(lines) == 1),
                 "exit %d, %s" % (result[0], result[2]))


def cells(folder):
    return sorted(f for f in os.listdir(at(folder, "records")) if f.endswith(".json") and not f.startswith("reference-"))


def references(folder):
    return sorted(f for f in os.listdir(at(folder, "records")) if f.startswith("reference-"))


def leftovers(folder):
    return [f for _, _, files in os.walk(folder) for f in files if ".tmp" in f or "write-test" in f]


class Page(html.parser.HTMLParser):
    """Tables as lists of rows, whether every tag is closed, and what the page would fetch."""
    VOID = {"meta", "line", "rect", "path", "circle", "br", "img"}

    def __init__(self):
        super().__init__()
        self.tables, self.open, self.faults, self.fetched, self.cell, self.images = [], [], [], [], None, 0

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.fetched += [v for k, v in attributes.items() if k in ("src", "href", "xlink:href")
                         and not v.startswith("data:image/png;base64,iVBOR")]
        self.images += tag == "img"
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append((attributes, []))
        elif tag == "tr":
            self.tables[-1][1].append([])
        elif tag in ("td", "th"):
            self.cell = ""

    def handle_endtag(self, tag):
        if tag not in self.VOID and (not self.open or self.open.pop() != tag):
            self.faults.append(tag)
        if tag in ("td", "th"):
            self.tables[-1][1][-1].append(self.cell)
            self.cell = None

    def handle_data(self, data):
        if self.cell is not None:
            self.cell += data


def shown(row, column):
    """A number of tables.csv as the page shows it."""
    if not row[column]:
        return "-"
    value, deviation = float(row[column]), row[column + "_sd"]
    text = "%.4f" % value
    if row["row"] == "star - sum":
        better = -value if column == "calibration_error" else value
        arrow = "\u25b2" if better >= 0.00005 else "\u25bc" if better <= -0.00005 else "="
        text = "%s %.4f" % (arrow, abs(value))
    return text + (" \u00b1 %.4f" % float(deviation) if deviation else "")


def check_page(folder, tables, references):
    page = Page()
    page.feed(read(os.path.join(folder, "report.html")).decode())
    checks.check("the page parses and closes what it opens", not page.faults and not page.open, page.faults)
    checks.check("it fetches nothing", not page.fetched and b"url(" not in read(os.path.join(folder, "report.html")),
                 page.fetched)
    rows = table(os.path.join(folder, "tables.csv"))
    seen = 0
    for attributes, lines in page.tables:
        if "data-region" not in attributes:
            continue
        # Every table shows the references after the rows of their fold.
        wanted = [[r["fold"], r["row"]] + [shown(r, c) for c in COLUMNS]
                  for fold in dict.fromkeys(r["fold"] for r in rows) for r in rows
                  if r["region"] == attributes["data-region"] and r["fold"] == fold
                  and r["activation"] in (attributes["data-activation"], "")]
        checks.check("table %(data-region)s, %(data-activation)s is that of the CSV" % attributes,
                     lines[1:] == wanted and len(wanted) > 2, [lines[1:2], wanted[:1]])
        seen += len([r for r in wanted if r[1] not in ("Hessian filter", "second observer")])
    trained = [r for r in rows if r["activation"]]
    checks.check("every row is shown", seen == len(trained) and len(page.tables) == tables + 2
                 and [r["row"] for r in rows if not r["activation"]] == references, (seen, len(rows)))
    paired = [lines for attributes, lines in page.tables if attributes.get("data-table") == "paired"][0]
    wanted = [[r["images"], r["star_better"], r["sum_better"], "%+.4f" % float(r["mean_difference"]),
               "%+.4f to %+.4f" % (float(r["low"]), float(r["high"]))]
              for r in table(os.path.join(folder, "paired.csv"))]
    checks.check("so are the paired differences", [line[3:] for line in paired[1:]] == wanted, paired[1:2])
    whole = json.loads(read(os.path.join(folder, "report.json")))
    checks.check("the JSON has the same", [[str(r["fold"]), r["row"], "%.9g" % r["f1"]] for r in whole["tables"]]
                 == [[r["fold"], r["row"], r["f1"]] for r in rows] and len(whole["paired"]) == len(wanted))


# ---- A tiny matrix, whole and stopped midway ----

MATRIX = TINY + ["--seed", "1,2", "--no-times"]
code, out, error = run(COMPARE, *MATRIX, "--jobs", 2, "--threads", 1, "-o", at("whole"))
records = cells("whole")
checks.check("a matrix of 16", code == 0 and len(records) == 16 and "16/16" in error, error[-300:])
checks.check("nothing stays in the work folder", not os.listdir(at("whole", "records", "work")))
check_page(at("whole"), 4, ["Hessian filter"] * 6)
checks.check("no lock stays", not os.path.exists(at("whole", "records", "lock")))
page = Page()
page.feed(read(at("whole", "report.html")).decode())
checks.check("pictures: photograph, labels, four networks and the filter of both folds", page.images == 14, page.images)
process = subprocess.Popen([str(w) for w in [COMPARE, *MATRIX, "--threads", 1, "-o", at("stopped")]],
                           stderr=subprocess.PIPE, text=True)
text = ""
while "\n3/16" not in text and process.poll() is None:
    text += process.stderr.readline()
process.send_signal(signal.SIGINT)
text += process.stderr.read()
process.wait()
kept = {f: read(at("stopped", "records", f)) for f in cells("stopped")}
checks.check("Ctrl-C ends it, finished records stay", process.returncode == 130 and 3 <= len(kept) < 16
             and "interrupted" in text and not os.path.exists(at("stopped", "report.html")), text[-200:])
code, out, error = run(COMPARE, *MATRIX, "--jobs", 3, "-o", at("stopped"))
checks.check("the same command goes on", code == 0 and "%d of 16 cells are finished already" % len(kept) in error
             and all(read(at("stopped", "records", f)) == data for f, data in kept.items()), error[:200])
checks.check("to the same report, byte for byte", not same_reports(at("whole"), at("stopped")),
             same_reports(at("whole"), at("stopped")))
before = {f: os.stat(at("whole", "records", f)).st_mtime_ns for f in records + references("whole")}
code, out, error = run(COMPARE, *MATRIX, "-o", at("whole"))
checks.check("a finished cell is never repeated, nor a reference", code == 0 and "16 of 16" in error and len(before) == 18
             and before == {f: os.stat(at("whole", "records", f)).st_mtime_ns for f in before}, error)
shutil.copytree(at("whole", "pictures"), at("again", "pictures"))
code, out, error = run(COMPARE, "--report-only", "--records", at("whole", "records"), "--no-times", "-o", at("again"))
checks.check("the report from the records alone is the same", code == 0 and not same_reports(at("whole"), at("again")),
             error)
code, out, error = run(COMPARE, "--report-only", "--records", at("whole", "records"), "--no-times", "-o", at("bare"))
checks.check("without pictures the page says so, and all else is the same", code == 0
             and b"<img" not in read(at("bare", "report.html")) and b"Left out: the folder" in read(at("bare", "report.html"))
             and same_reports(at("whole"), at("bare")) == ["report.html"], error)
checks.check("no half-written file", not leftovers(top), leftovers(top))


def whole_record(name):
    return json.loads(read(at("whole", "records", name + ".json")))


def error_of(bins):
    """Expected calibration error of a list of (pixels, vessels, sum of probabilities) * 15."""
    return sum(abs(bins[i + 2] - bins[i + 1]) for i in range(0, 45, 3)) / sum(bins[0::3])


rows = table(at("whole", "tables.csv"))
for column, region, at_image in (("cl_dice", "field_of_view", 8), ("cl_dice", "whole_image", 16),
                                 ("calibration_error", "field_of_view", 0)):
    seeds = []
    for seed in (1, 2):
        both = [whole_record("star-none-fold%d-seed%d" % (fold, seed)) for fold in (0, 1)]
        if at_image:
            values = [v for v in (image[at_image] for r in both for image in r["images"]) if v is not None]
            seeds.append(sum(values) / len(values))
        else:
            seeds.append(error_of([sum(v) for v in zip(*(r[region]["calibration"] for r in both))]))
    seen = [r for r in rows if (r["region"], r["activation"], r["fold"], r["row"]) == (region, "none", "pooled", "star")]
    checks.check("pooled %s, %s, is the mean over all images, or of all bins" % (column, region),
                 abs(float(seen[0][column]) - sum(seeds) / 2) < 1e-8, (seen[0][column], seeds))
difference = [whole_record("star-relu-fold%d-seed%d" % (f, s))["epochs"][0][2]
              - whole_record("sum-relu-fold%d-seed%d" % (f, s))["epochs"][0][2] for f in (0, 1) for s in (1, 2)]
seen = [r for r in table(at("whole", "learning.csv")) if r["activation"] == "relu"]
checks.check("validation of star - sum by epoch", len(seen) == 1 and seen[0]["pairs"] == "4"
             and abs(float(seen[0]["mean_difference"]) - sum(difference) / 4) < 1e-8, seen)

# Other curves of validation in the same records: behind, behind, ahead.
os.makedirs(at("curves", "records"))
for name in records:
    changed = whole_record(name[:-5])
    metrics = {"sum": (0.6, 0.65, 0.7), "star": (0.5, 0.6, 0.8)}[changed["fusion"]]
    changed["epochs"] = [[1 + i, 0.5, metrics[i], 0.001] for i in range(3)]
    changed["epochs_run"], changed["best_epoch"] = 3, 3 if changed["fusion"] == "sum" else 0
    write(at("curves", "records", name), json.dumps(changed).encode())
code, out, error = run(COMPARE, "--report-only", "-o", at("curves"))
text = read(at("curves", "report.html")).decode()
checks.check("where the sign changes is told in words", code == 0
             and text.count("star is behind sum before epoch 3 and ahead of it from there on; -0.1000 in epoch 1, +0.1000 "
                            "(&plusmn; 0.0000 over the pairs) in epoch 3") == 2 and "patches of the training images" in text,
             error)
checks.check("and how many were still rising", "In 8 of 16 runs the best epoch is one of the last 3" in text)
checks.check("no reference without a record of it", "Hessian" not in text)

# ---- A cell stopped midway goes on from its checkpoint, to the same record ----

ONE = DATA + SIZE + ["--epochs", 6, "--steps", 30, "--no-pictures", "--fusion", "star", "--activation", "relu", "--fold", 1,
                     "--no-times", "--threads", 1]
NAME = "star-relu-fold1-seed2024"
code, out, error = run(COMPARE, *ONE, "-o", at("one"))
process = subprocess.Popen([str(w) for w in [COMPARE, *ONE, "-o", at("two")]], stderr=subprocess.PIPE, text=True)
while not os.path.exists(at("two", "records", "work", NAME + ".safetensors")) and process.poll() is None:
    time.sleep(0.002)
process.send_signal(signal.SIGTERM)
text = process.stderr.read()
process.wait()
checks.check("a stopped cell leaves a checkpoint", process.returncode == 130
             and os.path.exists(at("two", "records", "work", NAME + ".safetensors"))
             and not os.path.exists(at("two", "records", NAME + ".json")), text)
code, out, error = run(COMPARE, *ONE, "-o", at("two"))


def record(folder, name=NAME):
    whole = json.loads(read(at(folder, "records", name + ".json")))
    for key in ("train_seconds", "test_seconds", "threads"):
        whole.pop(key)
    return whole


checks.check("and ends with the same record and report", code == 0 and record("one") == record("two")
             and len(record("two")["epochs"]) == 6 and not same_reports(at("one"), at("two")), error)

# A killed parent takes its trainings with it: their next word has no listener.
process = subprocess.Popen([str(w) for w in [COMPARE, *ONE, "--steps", 4000, "-o", at("killed")]],
                           stderr=subprocess.DEVNULL)
while not os.path.exists(at("killed", "records", "work", NAME + ".txt")) and process.poll() is None:
    time.sleep(0.002)
refused("two runs at once on the same records", run(COMPARE, *ONE, "-o", at("second"), "--records",
                                                    at("killed", "records")), 1,
        "another unetstar-compare (process %d)" % process.pid, at("killed", "records"))
process.kill()
process.wait()
for _ in range(1000):
    if os.path.exists(at("killed", "records", "work", NAME + ".safetensors")):
        break
    time.sleep(0.01)
checks.check("a killed parent: its training saves and stops",
             os.path.exists(at("killed", "records", "work", NAME + ".safetensors"))
             and read(at("killed", "records", "work", NAME + ".csv")).count(b"\n") == 1)

code, out, error = run(COMPARE, *ONE, "--epochs", 1, "--steps", 1, "-o", at("killed"))
checks.check("the lock of a killed run is none", code == 0 and not os.path.exists(at("killed", "records", "lock")), error)

# ---- What a record says ----

seen = record("one")
counts = [sum(image[1 + k] for image in seen["images"]) for k in range(4)]
checks.check("counts of the images add up", counts == seen["field_of_view"]["counts"]
             and sum(seen["whole_image"]["counts"]) == 3 * 80 * 64 and len(seen["images"]) == 3, counts)
for region in ("field_of_view", "whole_image"):
    part = seen[region]
    tp, fp, tn, fn = part["counts"]
    checks.check("scores counted in bins, " + region, sum(part["vessel"]) == tp + fn
                 and sum(part["background"]) == fp + tn
                 and sum(part["vessel"][len(part["vessel"]) // 2:]) == tp
                 and sum(part["background"][len(part["background"]) // 2:]) == fp)
    checks.check("thinned curves, " + region, all(4 <= len(part[c]) <= 400 for c in ("roc", "pr")))
sizes = [os.path.getsize(at("whole", "records", f)) for f in records]
checks.check("records are small", max(sizes) <= 60000, max(sizes))
code, out, error = run(TRAIN, *DATA, *SIZE, "--epochs", 6, "--steps", 30, "--fusion", "star", "--activation", "relu",
                       "--fold", 1, "--no-store-threshold", "--no-pictures", "--quiet", "-o", at("train"))
alone = json.loads(read(at("train", "metrics.json")))
checks.check("unetstar-train with the same options has the same result",
             alone["pooled"]["roc_auc"] == seen["field_of_view"]["roc_auc"]
             and alone["pooled"]["true_positives"] == seen["field_of_view"]["counts"][0], alone["pooled"])
row = [r for r in table(at("one", "tables.csv")) if r["row"] == "star" and r["region"] == "field_of_view"][0]
checks.check("and the same calibration error and clDice", abs(float(row["calibration_error"])
             - alone["pooled"]["calibration_error"]) < 1e-7 and abs(float(row["cl_dice"]) - sum(
                 image["cl_dice"] for image in alone["images"]) / len(alone["images"])) < 1e-8, row)
code, out, error = run(COMPARE, "--synthetic", 3, "--synthetic-size", "64x48", "--fold", "own", "--patch", 16, "--batch", 1,
                       "--epochs", 1, "--steps", 1, "--fusion", "sum,concat", "--activation", "none", "--quiet", "-o",
                       at("cost"))
sums = record("cost", "sum-none-foldown-seed2024")
checks.check("multiply-adds by hand (76,384 a pixel at narrow 0.5), parameters, the data's own fold",
             sums["multiply_adds"] == 76384 * 256 and sums["parameters"] == 2936802 and len(sums["train"]) == 3
             and "train_seconds" in table(at("cost", "cost.csv"))[0], error)
more = record("cost", "concat-none-foldown-seed2024")["multiply_adds"]
# Three first convolutions of a decoder stage read twice the channels, at 1/64, 1/16 and 1/4 of the pixels.
checks.check("of concatenation too", more - sums["multiply_adds"]
             == 256 * 9 * (256 * 128 // 64 + 128 * 64 // 16 + 64 * 32 // 4), more)

code, out, error = run(COMPARE, "--synthetic", 3, "--synthetic-size", "64x48", "--fold", "own", "--patch", 16, "--batch", 1,
                       "--epochs", 1, "--steps", 1, "--fusion", "sum", "--activation", "none", "--quiet", "--narrow", 0.25,
                       "--levels", 2, "--block", "star", "--block-expansion", 2, "-o", at("star"))
# Widths 16 and 32; a block of a in, b out: 9 a b, then 3 times 2 b^2. Stages at 1, 1/4, 1/16 and 1/4 of the pixels.
checks.check("of star blocks", record("star", "sum-none-foldown-seed2024")["multiply_adds"]
             == 256 * (9 * 16 + 6 * 16 ** 2 + (9 * 16 * 32 + 6 * 32 ** 2) // 4 + (9 * 32 ** 2 + 6 * 32 ** 2) // 16
                       + (9 * 32 * 16 + 6 * 16 ** 2) // 4 + 2 * 16), error)

# A network that has learned something: areas from histograms against exact ones.
code, out, error = run(COMPARE, "--synthetic", 4, "--synthetic-seed", 4, "--synthetic-size", "128x128", "--folds", 2,
                       "--fold", "0", "--narrow", 0.125, "--patch", 48, "--epochs", 2, "--steps", 40, "--validation",
                       "none", "--lr", 0.01, "--activation", "relu", "--fusion", "sum", "--quiet", "-o", at("learned"))
part = record("learned", "sum-relu-fold0-seed2024")["field_of_view"]
area, tp = 0, 0
for vessel, background in zip(part["vessel"][::-1], part["background"][::-1]):
    area += background * (tp + vessel / 2)
    tp += vessel
area /= sum(part["vessel"]) * sum(part["background"])
checks.check("areas from histograms are near the exact ones", code == 0 and part["roc_auc"] > 0.7
             and abs(area - part["roc_auc"]) < 1e-4, (area, part["roc_auc"]))

# ---- References ----

for i in range(4):
    write(at("two", "images", "eye%d.png" % i), pictures.png(64, 48, 3, pictures.photo_bytes(64, 48, i)))
    write(at("two", "labels_ah", "eye%d.png" % i), pictures.png(64, 48, 1, pictures.label_bytes(64, 48, i)))
    write(at("two", "labels_vk", "eye%d.png" % i), pictures.png(64, 48, 1, pictures.label_bytes(64, 48, i + 1)))
TWO = [COMPARE, at("two"), "--labels", "labels_ah", "--folds", 2, *SIZE, "--epochs", 1, "--steps", 1, "--fusion", "sum",
       "--activation", "none", "--no-times", "-o", at("humans")]
code, out, error = run(*TWO)
rows = table(at("humans", "tables.csv")) if code == 0 else []
seen = {(r["fold"], r["row"]): r for r in rows if r["region"] == "whole_image"}
tp = fp = fn = 0
for i in range(4):
    for a, b in zip(pictures.label_bytes(64, 48, i), pictures.label_bytes(64, 48, i + 1)):
        tp, fp, fn = tp + (a > 127 and b > 127), fp + (a <= 127 and b > 127), fn + (a > 127 and b <= 127)
human = seen.get(("pooled", "second observer"), {})
checks.check("the second observer, pooled by hand", len(references("humans")) == 4
             and abs(float(human["f1"]) - 2 * tp / (2 * tp + fp + fn)) < 1e-8 and not human["roc_auc"]
             and not human["calibration_error"] and ("0", "Hessian filter") in seen, error or human)
before = {f: read(at("humans", "records", f)) for f in references("humans")}
write(at("humans", "records", "reference-hessian-fold1.json"), b"{")
code, out, error = run(COMPARE, "--report-only", "-o", at("humans"))
checks.check("a broken reference is left out", code == 0 and not [r for r in table(at("humans", "tables.csv"))
             if r["row"] == "Hessian filter" and r["fold"] != "0"], error)
code, out, error = run(*TWO)
checks.check("and made again", code == 0 and before == {f: read(at("humans", "records", f)) for f in before}, error)
code, out, error = run(*TWO[:-1], at("alone"), "--no-references", "--no-pictures")
checks.check("none are made with --no-references, no picture with --no-pictures", code == 0 and not references("alone")
             and not os.path.exists(at("alone", "pictures")) and b"--no-pictures says" in read(at("alone", "report.html")))

# ---- Presets, and options that came later ----

FULL = TINY + ["--fusion", "sum", "--activation", "none", "--fold", "0", "--no-references", "--no-pictures", "-o", at("full")]
code, out, error = run(COMPARE, *FULL, "--preset", "full-resolution", "--lr", 0.002)
options = record("full", "sum-none-fold0-seed2024")["options"] if code == 0 else {}
checks.check("a preset is a set of options, and what is given beside it wins", options.get("full-resolution-head") == "on"
             and options.get("lr") == "0.002" and "preset" not in options, error or options)
code, out, error = run(COMPARE, *FULL, "--full-resolution-head", "--lr", 0.002)
checks.check("by whatever name", code == 0 and "1 of 1 cells" in error, error)
path = at("full", "records", "sum-none-fold0-seed2024.json")
old = json.loads(read(path))
del old["options"]["dropout"], old["options"]["color"]
write(path, json.dumps(old).encode())
code, out, error = run(COMPARE, *FULL, "--full-resolution-head", "--lr", 0.002)
checks.check("an option that a record does not know had its default", code == 0 and "1 of 1 cells" in error, error)
refused("and no other value", run(COMPARE, *FULL, "--full-resolution-head", "--lr", 0.002, "--color", "rgb"), 1,
        "--color gray", "rgb")

# ---- Records that do not fit ----

path = at("whole", "records", records[0])
refused("other options are refused", run(COMPARE, *MATRIX, "--lr", 0.001, "-o", at("whole")), 1, "--lr 0.0005", "0.001",
        "fold0", "--again")
good = read(path)
older = json.loads(good)
for option in ("block", "block-expansion", "noise", "blur", "color-mix", "clahe-jitter"):
    del older["options"][option]
write(path, json.dumps(older).encode())
code, out, error = run(COMPARE, *MATRIX, "-o", at("whole"))
checks.check("records from before an option have its default", code == 0 and "16 of 16" in error, error)
refused("and no other value", run(COMPARE, *MATRIX, "--block", "star", "-o", at("whole")), 1, "--block", "double-conv")
write(path, good.replace(b'"numerics_version": ', b'"numerics_version": 9'))
refused("another results version is refused", run(COMPARE, *MATRIX, "-o", at("whole")), 1, path, "version 9", "--again")
refused("records that disagree are not reported", run(COMPARE, "--report-only", "-o", at("whole")), 1, "version 9")
code, out, error = run(COMPARE, *MATRIX, "--again", "-o", at("whole"))


def timeless(data):
    return [line for line in data.splitlines() if b"_seconds" not in line and b"threads" not in line]


checks.check("--again repeats it alone", code == 0 and "15 of 16" in error and timeless(read(path)) == timeless(good)
             and not same_reports(at("whole"), at("stopped")), error)
for name, broken in (("cut", good[:len(good) // 2]), ("empty list", good.replace(b'"images": [', b'"images": [], "x": [')),
                     ("other JSON", b"[1, 2]"), ("no JSON", b"\x89PNG"), ("a fold of no kind",
                                                                         good.replace(b'"fold": "', b'"fold": "x'))):
    write(path, broken)
    refused("a broken record is named: " + name, run(COMPARE, "--report-only", "-o", at("whole")), 1, path,
            "not a record")
write(path, good.replace(b'"counts": [', b'"counts": [-', 1))
refused("counts below 0 are broken too", run(COMPARE, "--report-only", "-o", at("whole")), 1, path, "not a record")
write(path, good)
write(at("whole", "records", "copy.json"), good)
refused("a second record of a cell is named", run(COMPARE, "--report-only", "-o", at("whole")), 1, "copy.json",
        records[0][:-5])
os.remove(at("whole", "records", "copy.json"))
os.remove(path)
code, out, error = run(COMPARE, "--report-only", "-o", at("whole"))
checks.check("missing cells are told", code == 0 and "some are missing" in error
             and records[0][:-5] in read(at("whole", "report.html")).decode()
             and json.loads(read(at("whole", "report.json")))["missing"] == [records[0][:-5]], error)
refused("other images are refused", run(COMPARE, *[x if x != "80x64" else "80x80" for x in MATRIX], "-o", at("stopped")), 1,
        "--synthetic-size 80x64", "80x80")

# ---- Wrong use ----

code, out, error = run(COMPARE, "--help")
checks.check("--help", code == 0 and "--report-only" in out and "--jobs" in out and not error
             and not any(name in out for name in ("--resume", "--calibrate", "--threshold", "--all")))
checks.check("--version", run(COMPARE, "--version")[1].startswith("unetstar-compare "))
refused("no data", run(COMPARE), 2, "--synthetic")
refused("a report of all records chooses none", run(COMPARE, "--report-only", "-o", at("whole"), "--seed", 3), 2, "--seed")
refused("no such fusion", run(COMPARE, *TINY, "--fusion", "sum,product"), 2, "product", "concat")
refused("no such activation", run(COMPARE, *TINY, "--activation", "none,,relu"), 2, "must be out of")
refused("twice the same", run(COMPARE, *TINY, "--fusion", "sum,sum"), 2, "twice")
refused("a seed that is none", run(COMPARE, *TINY, "--seed", "1,-2"), 2, "-2")
refused("a fold beyond the last", run(COMPARE, *TINY, "--fold", "0,2"), 2, "from 0 to 1")
refused("a fold that is none", run(COMPARE, *TINY, "--fold", "first"), 2, "first")
refused("an option of unetstar-train only", run(COMPARE, *TINY, "--resume"), 2, "--resume")
refused("a folder that is none", run(COMPARE, at("nowhere"), "-o", at("x")), 1, "nowhere")
refused("no record", run(COMPARE, "--report-only", "-o", at("x")), 1, "records")
refused("a report needs no data", run(COMPARE, *TINY, "--report-only"), 2, "needs no data")
refused("a patch that does not fit", run(COMPARE, *TINY, "--patch", 30), 2, "multiples of 16")
write(at("file"), b"x")
refused("an observer that is not there", run(COMPARE, *TINY, "--fusion", "sum", "--activation", "none", "--observer", "nope",
                                              "-o", at("nope")), 1, "--observer nope")
refused("a file in the way", run(COMPARE, *TINY, "-o", at("file")), 1, "file")
refused("a training that cannot be", run(COMPARE, *TINY, "--narrow", 0.001, "--fusion", "sum", "-o", at("thin")), 1,
        "4 of 4 cells failed")

shutil.rmtree(top, ignore_errors=True)
checks.finish()
