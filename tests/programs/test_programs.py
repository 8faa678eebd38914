#!/usr/bin/env python3
"""The three programs from end to end, at toy sizes: what they print, what they write, how they end.

    test_programs.py UNETSTAR_TRAIN UNETSTAR_SEGMENT UNETSTAR_EVALUATE [MINIMAL_SEGMENT]
"""
import csv
import json
import os
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "layouts"))
import pictures as p  # noqa: E402
from checks import Checks, read, run, write  # noqa: E402

TRAIN, SEGMENT, EVALUATE = sys.argv[1:4]
MINIMAL = sys.argv[4] if len(sys.argv) > 4 else None
NAMES = {TRAIN: "unetstar-train", SEGMENT: "unetstar-segment", EVALUATE: "unetstar-evaluate"}
checks = Checks()
top = tempfile.mkdtemp(prefix="unetstar-programs-")
TINY = ["--synthetic", 3, "--synthetic-size", "64x48", "--narrow", 0.0625, "--levels", 2, "--patch", 32, "--batch", 2]
SHORT = TINY + ["--epochs", 3, "--steps", 3]


def at(*parts):
    return os.path.join(top, *parts)


def one_line(program, name, result, code, *needles):
    """The program ended with this code and said why in one line that holds the needles."""
    lines = result[2].splitlines()
    ok = (result[0] == code and len(lines) == 1 and lines[0].startswith(NAMES[program] + ": ")
          and all(n in lines[0] for n in needles))
    checks.check(name, ok, "exit %d, %s" % (result[0], result[2]))


def png_size(path):
    """Width, height, bits, channels of a PNG whose checksums and pixels are all there."""
    data, offset, idat, header = read(path), 8, b"", None
    assert data[:8] == b"\x89PNG\r\n\x1a\n", "no PNG"
    while offset < len(data):
        length, kind = struct.unpack(">I4s", data[offset:offset + 8])
        body = data[offset + 8:offset + 8 + length]
        crc = struct.unpack(">I", data[offset + 8 + length:offset + 12 + length])[0]
        assert crc == zlib.crc32(kind + body), "checksum"
        if kind == b"IHDR":
            header = struct.unpack(">IIBBBBB", body)
        if kind == b"IDAT":
            idat += body
        offset += 12 + length
    width, height, bits, color = header[:4]
    channels = 3 if color == 2 else 1
    assert kind == b"IEND" and len(zlib.decompress(idat)) == height * (1 + width * channels * bits // 8), "size"
    return width, height, bits, channels


def valid(path, *more):
    """Checks that a written file is what its name says."""
    name = os.path.relpath(path, top)
    try:
        if path.endswith(".png"):
            seen = png_size(path)
            ok = not more or seen == more
        elif path.endswith(".svg"):
            root = xml.etree.ElementTree.parse(path).getroot()
            ok = root.tag.endswith("svg")
            seen = "%d elements" % len(list(root.iter()))
        elif path.endswith(".json"):
            seen = sorted(json.loads(read(path)))
            ok = {"pooled", "images"} <= set(seen)
        elif path.endswith(".csv"):
            with open(path, newline="", errors="replace") as stream:
                rows = list(csv.reader(stream))
            ok = len(rows) > 1 and all(len(r) == len(rows[0]) for r in rows)
            seen = "%d rows of %d" % (len(rows), len(rows[0]))
        else:
            seen = os.path.getsize(path)
            ok = seen > 0
    except (OSError, AssertionError, ValueError, xml.etree.ElementTree.ParseError, zlib.error) as error:
        ok, seen = False, repr(error)
    checks.check("valid: " + name, ok, seen)


def no_leftovers(folder):
    left = [f for _, _, files in os.walk(folder) for f in files if ".tmp" in f or "write-test" in f]
    checks.check("no half-written file in " + os.path.relpath(folder, top), not left, left)


# ---- Help, version, wrong use ----

for program, name in NAMES.items():
    code, out, error = run(program, "--help")
    checks.check(name + " --help", code == 0 and not error and out.index("Examples:") < out.index("Options")
                 and "Exit codes" in out and max(map(len, out.splitlines())) <= 120, "%d lines" % len(out.splitlines()))
    checks.check(name + " -h is the same", run(program, "-h")[1] == out)
    code, out, error = run(program, "--version")
    checks.check(name + " --version", code == 0 and out.startswith(name + " ") and len(out.splitlines()) == 1, out)
    if os.path.exists("/dev/full"):
        for page in ("--help", "--version"):
            with open("/dev/full", "w") as full:
                done = subprocess.run([program, page], stdout=full, stderr=subprocess.PIPE, text=True)
            one_line(program, "%s %s on a full disk" % (name, page), (done.returncode, "", done.stderr), 1, "output")
    one_line(program, name + " without arguments", run(program), 2, "--help")
    one_line(program, name + ": unknown option, the nearest named", run(program, "--treshold", "0.4"), 2, "--threshold")
    one_line(program, name + ": unknown option, none near", run(program, "--xyzzy"), 2, "--xyzzy")
    one_line(program, name + ": unknown letter", run(program, "-x"), 2, "-x")
    one_line(program, name + ": value missing", run(program, "--threshold"), 2, "--threshold")
    one_line(program, name + ": value out of range", run(program, "--threshold", "1.5"), 2, "from 0 to 1")
    one_line(program, name + ": value is no number", run(program, "--threads", "two"), 2, "--threads two")
one_line(TRAIN, "a choice that is none", run(TRAIN, "--fusion", "produkt"), 2, "sum, star, concat")
one_line(TRAIN, "a patch that does not fit the levels", run(TRAIN, "--synthetic", 3, "--patch", 50), 2,
         "multiples of 16")
one_line(TRAIN, "a loss without terms", run(TRAIN, "--synthetic", 3, "--cross-entropy", 0), 2, "loss")
one_line(TRAIN, "an unknown UNETSTAR_ISA",
         run(TRAIN, *SHORT, "-o", at("isa"), env=dict(os.environ, UNETSTAR_ISA="mmx")), 1, "UNETSTAR_ISA=mmx", "avx2")
one_line(SEGMENT, "a model that is not there", run(SEGMENT, at("none.safetensors"), at("x.png"), "-o", at("s")), 1,
         at("none.safetensors"))

# ---- A whole training ----

code, out, error = run(TRAIN, *SHORT, "-o", at("a"))
checks.check("training ends", code == 0, error[-300:])
checks.check("training prints the table", "pooled" in out and "ROC AUC" in out and "synthetic-1000001" in out,
             out[-200:])
checks.check("not on a terminal: plain lines, one an epoch", "\r" not in error and "\033" not in error
             and len([line for line in error.splitlines() if line.startswith("epoch")]) == 3)
for name in ("model.safetensors", "checkpoint.safetensors", "log.csv", "curves.svg", "metrics.csv", "metrics.json",
             "roc.svg", "pr.svg"):
    valid(at("a", name))
valid(at("a", "test", "synthetic-1000001-probability.png"), 64, 48, 8, 1)
valid(at("a", "test", "synthetic-1000001-errors.png"), 64, 48, 8, 3)
with open(at("a", "log.csv"), newline="") as stream:
    log = list(csv.DictReader(stream))
checks.check("the log has a row an epoch", [row["epoch"] for row in log] == ["1", "2", "3"],
             [(row["loss"], row["metric"]) for row in log])
report = json.loads(read(at("a", "metrics.json")))
with open(at("a", "metrics.csv"), newline="") as stream:
    table = list(csv.DictReader(stream))
checks.check("CSV and JSON agree", len(report["images"]) == 1 and table[-1]["kind"] == "pooled"
             and abs(float(table[-1]["f1"]) - report["pooled"]["f1"]) < 1e-8, report["pooled"]["f1"])
no_leftovers(at("a"))

one_line(TRAIN, "a folder that holds a training is not overwritten", run(TRAIN, *SHORT, "-o", at("a")), 1, "--resume",
         "--overwrite")
one_line(TRAIN, "nothing to resume", run(TRAIN, *SHORT, "-o", at("empty"), "--resume"), 1, "checkpoint.safetensors")
checks.check("and no folder of that name is made", not os.path.exists(at("empty")))
code, out, error = run(TRAIN, *SHORT, "-o", at("a"), "--quiet", "--overwrite")
checks.check("--quiet prints the table only", code == 0 and not error and "pooled" in out, error)
code, _, error = run(TRAIN, *TINY, "--epochs", 3, "--steps", 3, "--batch", 3, "-o", at("a"), "--resume")
checks.check("resuming with other options is refused by name", code == 1 and "batch" in error, error)

# ---- The same bits ----

reference = read(at("a", "model.safetensors"))
for name, options, environment in (("one thread", ["--threads", 1], {}), ("two threads", ["--threads", 2], {}),
                                   ("AVX2 at most", [], {"UNETSTAR_ISA": "avx2"}),
                                   ("plain C", [], {"UNETSTAR_ISA": "reference"}),
                                   ("no checkpoints between", ["--checkpoint-every", 0], {}),
                                   ("a checkpoint every second epoch", ["--checkpoint-every", 2], {})):
    folder = at(name.replace(" ", "-"))
    code, _, error = run(TRAIN, *SHORT, *options, "-o", folder, env=dict(os.environ, **environment))
    checks.check("same model: " + name, code == 0 and read(os.path.join(folder, "model.safetensors")) == reference,
                 error[-200:] if code else "%d bytes" % len(reference))


def interrupt(folder, wait_for, more=(), signal_=signal.SIGINT):
    """Starts a training, sends a signal when its stderr shows wait_for, returns exit code and stderr."""
    command = [TRAIN, *LONG, "-o", folder, *more]
    process = subprocess.Popen([str(w) for w in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    seen = ""
    for line in process.stderr:
        seen += line
        if line.startswith(wait_for):
            time.sleep(0.05)
            process.send_signal(signal_)
            break
    seen += process.stderr.read()
    return process.wait(timeout=300), seen


PART = int(os.environ.get("UNETSTAR_TEST_PART", "1"))  # above 1: less of what takes long (tests/part.h)
LONG = TINY + ["--epochs", 4, "--steps", max(60 // PART, 15), "--early-stop", 0]
code, _, error = run(TRAIN, *LONG, "-o", at("whole"))
checks.check("a longer training ends", code == 0, error[-200:])
code, error = interrupt(at("cut"), "epoch  1/4")
checks.check("Ctrl-C ends with 130 and says how to go on", code == 130 and "--resume" in error and "Stopped" in error,
             "exit %d, %s" % (code, error[-300:]))
checks.check("Ctrl-C saved", os.path.exists(at("cut", "checkpoint.safetensors"))
             and not os.path.exists(at("cut", "model.safetensors")))
command = [line for line in error.splitlines() if line.startswith("Go on with: ")]
code = subprocess.call(["sh", "-c", command[0][len("Go on with: "):]], stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL) if command else -1
checks.check("the printed command goes on", code == 0, command)
checks.check("resumed equals uninterrupted, bit by bit", os.path.exists(at("cut", "model.safetensors")) and
             read(at("cut", "model.safetensors")) == read(at("whole", "model.safetensors")))


def log_without_times(folder):
    with open(at(folder, "log.csv"), newline="") as stream_:
        return [[row[k] for k in ("epoch", "loss", "metric", "best_metric", "is_best", "learning_rate")]
                for row in csv.DictReader(stream_)]


checks.check("and so do the logs", log_without_times("cut") == log_without_times("whole"), log_without_times("cut"))
code, _, error = run(TRAIN, *LONG, "-o", at("cut"), "--resume")
checks.check("resuming a finished training measures again", code == 0 and
             read(at("cut", "model.safetensors")) == read(at("whole", "model.safetensors")), error[-200:])
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # tests may run under nohup
code, error = interrupt(at("twice"), "machine", ["--steps", 100000], signal.SIGHUP)
checks.check("a closed terminal, in the first epoch", code == 130 and os.path.exists(at("twice", "checkpoint.safetensors")),
             error[-200:])

# killed without warning: the checkpoint of the last whole epoch is there, and it is enough
process = subprocess.Popen([str(w) for w in [TRAIN, *LONG, "-o", at("killed")]], stdout=subprocess.DEVNULL,
                           stderr=subprocess.PIPE, text=True)
for line in process.stderr:
    if line.startswith("epoch  3/4"):
        process.kill()
        break
process.stderr.close()
process.wait()
code, _, error = run(TRAIN, *LONG, "-o", at("killed"), "--resume")
checks.check("killed and resumed equals uninterrupted", code == 0 and
             read(at("killed", "model.safetensors")) == read(at("whole", "model.safetensors")), error[-200:])

# ---- Every kind of option once ----

for name, options in (
        ("sum, relu, images", "--fusion sum --activation relu --validation images --metric f1"),
        ("concat, silu, group, bilinear", "--fusion concat --activation silu --norm group --upsampling bilinear "
         "--optimizer adamw --weight-decay 0.01"),
        ("full-resolution head, deep supervision", "--full-resolution-head --deep-supervision --dropout 0.1 "
         "--schedule plateau --no-flips"),
        ("one class, no norm, transposed", "--classes 1 --norm none --upsampling transposed --activation gelu "
         "--optimizer sgd --lr 0.01 --clip-gradient 1"),
        ("preset original-rgb", "--preset original-rgb --dice 0.5 --focal 0.5 --class-weights 1,3"),
        ("preset skelcon-like", "--preset skelcon-like --blur 1"),
        ("green, no validation, augmentation", "--color green --validation none --brightness 0.1 --contrast 0.1 "
         "--gamma-jitter 0.2 --standardize --masked-loss"),
        ("instance norm, exact", "--norm instance --activation leaky-relu --leaky-slope 0.2 --precision exact"),
        ("star blocks", "--block star --block-expansion 2 --activation relu6"),
        ("all images", "--all")):
    folder = at("option-" + name.split(",")[0].replace(" ", "-"))
    code, out, error = run(TRAIN, *SHORT, *options.split(), "-o", folder)
    checks.check("trains: " + name, code == 0 and os.path.exists(os.path.join(folder, "model.safetensors")),
                 error[-200:])

# ---- Segmenting ----

MODEL = at("a", "model.safetensors")
W, H = 61, 45
rgb = p.photo_bytes(W, H)
write(at("in", "one.png"), p.png(W, H, 3, rgb))
write(at("in", "two.bmp"), p.bmp(W, H, rgb))
write(at("in", "three.ppm"), p.pnm(W, H, 3, rgb))
formats = run(TRAIN, "--version")[1]
if "TIFF" in formats:
    write(at("in", "four.tif"), p.tiff(W, H, 3, rgb))
if ".gz" in formats:
    write(at("in", "five.ppm.gz"), p.ppm_gz(W, H, 3, rgb))
code, out, error = run(SEGMENT, MODEL, at("in"), "-o", at("seg"))
stems = [f.split(".")[0] for f in sorted(os.listdir(at("in")))]
checks.check("a folder is segmented", code == 0 and len(os.listdir(at("seg"))) == 3 * len(stems), error)
valid(at("seg", "one-probability.png"), W, H, 8, 1)
valid(at("seg", "one-vessels.png"), W, H, 8, 1)
valid(at("seg", "one-overlay.png"), W, H, 8, 3)
checks.check("the file format does not matter", len({read(at("seg", s + "-probability.png")) for s in stems}) == 1,
             stems)
if "16-bit" in formats:
    code, _, error = run(SEGMENT, MODEL, at("in", "one.png"), "-o", at("seg16"), "--bits", 16, "--no-overlay",
                         "--no-vessels")
    checks.check("16 bits, and only the map", code == 0 and os.listdir(at("seg16")) == ["one-probability.png"], error)
    valid(at("seg16", "one-probability.png"), W, H, 16, 1)
write(at("masks", "one_mask.png"), p.png(W, H, 1, p.mask_bytes(W, H)))
code, _, error = run(SEGMENT, MODEL + "," + at("whole", "model.safetensors"), at("in", "one.png"), "-o", at("seg2"),
                     "--views", 4, "--clip", "--mask", at("masks"), "--threshold", 0.3, "--quiet")
checks.check("two models, four views, clipped, quiet", code == 0 and not error, error)
write(at("beside", "one.png"), p.png(W, H, 3, rgb))
write(at("beside", "one_mask.png"), p.png(W, H, 1, p.mask_bytes(W, H)))
code, _, error = run(SEGMENT, MODEL, at("beside"), "-o", at("seg7"), "--clip", "--mask", at("beside"), "--quiet")
run(SEGMENT, MODEL, at("in", "one.png"), "-o", at("seg8"), "--clip", "--mask", at("masks"), "--quiet")
checks.check("a mask beside its photograph", code == 0 and len(os.listdir(at("seg7"))) == 3 and
             read(at("seg7", "one-probability.png")) == read(at("seg8", "one-probability.png")), error)
os.remove(at("beside", "one_mask.png"))
one_line(SEGMENT, "nor when it is named", run(SEGMENT, MODEL, at("in", "one.png"), "-o", at("seg9"), "--mask",
                                             at("in", "one.png")), 1, "the photograph itself")
one_line(SEGMENT, "a photograph is not its own mask", run(SEGMENT, MODEL, at("beside"), "-o", at("seg9"), "--mask",
                                                          at("beside")), 1, "no mask for one")
code, out, error = run(SEGMENT, MODEL, "--synthetic", 7, "--synthetic-size", "96x64", "-o", at("seg3"))
checks.check("a made-up photograph is measured", code == 0 and "synthetic-7" in out, error)
for kind in ("photo", "truth", "probability", "vessels", "overlay"):
    valid(at("seg3", "synthetic-7-%s.png" % kind))
write(at("bad", "a.png"), p.png(W, H, 3, rgb))
write(at("bad", "b.png"), b"nonsense")
code, _, error = run(SEGMENT, MODEL, at("bad"), "-o", at("seg4"))
checks.check("a broken image is named, the others are done", code == 1 and "b.png" in error and "1 of 2" in error
             and os.path.exists(at("seg4", "a-overlay.png")), error)
one_line(SEGMENT, "the only image is broken", run(SEGMENT, MODEL, at("bad", "b.png"), "-o", at("seg4")), 1, "b.png")
one_line(SEGMENT, "no image", run(SEGMENT, MODEL, at("nothere.png"), "-o", at("seg4")), 1, "nothere.png")
write(at("other", "one.jpg"), b"")
one_line(SEGMENT, "two images of one name",
         run(SEGMENT, MODEL, at("in", "one.png"), at("other", "one.jpg"), "-o", at("seg5")), 1, "one.png", "one.jpg")
checks.check("and nothing was written", not os.path.exists(at("seg5")))
one_line(SEGMENT, "a mask of another size", run(SEGMENT, MODEL, at("in", "one.png"), "-o", at("seg6"), "--mask",
                                                at("seg3", "synthetic-7-truth.png")), 1, "96 x 64", "61 x 45")
write(at("notmodel.safetensors"), b"\x10\0\0\0\0\0\0\0{}              ")
one_line(SEGMENT, "not a model", run(SEGMENT, at("notmodel.safetensors"), at("in", "one.png"), "-o", at("seg6")), 1,
         "notmodel.safetensors")
write(at("cut.safetensors"), reference[:len(reference) // 2])
one_line(SEGMENT, "half a model", run(SEGMENT, at("cut.safetensors"), at("in", "one.png"), "-o", at("seg6")), 1,
         "cut.safetensors")
no_leftovers(at("seg"))

# ---- Evaluating ----

code, out, error = run(EVALUATE, MODEL, "--synthetic", 3, "--synthetic-size", "64x48", "-o", at("eval"), "--pictures")
checks.check("evaluation of the same test pictures", code == 0 and "pooled" in out, error)
again = json.loads(read(at("eval", "metrics.json")))
checks.check("gives the numbers of the training", again["pooled"] == report["pooled"]
             and again["images"] == report["images"], again["pooled"]["roc_auc"])
for name in ("metrics.csv", "metrics.json", "roc.svg", "pr.svg", "synthetic-1000001-errors.png"):
    valid(at("eval", name))
for i in range(4):
    write(at("data", "images", f"eye{i}.png"), p.png(W, H, 3, p.photo_bytes(W, H, i)))
    write(at("data", "labels", f"eye{i}.gif"), p.gif(W, H, p.label_bytes(W, H, i)))
    write(at("data", "second", f"eye{i}.pgm"), p.pnm(W, H, 1, p.label_bytes(W, H, i + 1)))
    write(at("maps", f"eye{i}.png"), p.png(W, H, 1, p.label_bytes(W, H, i)))
code, out, error = run(EVALUATE, MODEL, at("data"), "--all", "--observer", "second", "-o", at("eval2"))
rows = json.loads(read(at("eval2", "metrics.json"))) if code == 0 else {"images": []}
checks.check("evaluation of a folder, with a second observer", code == 0 and len(rows["images"]) == 4
             and 0 < rows["observer"]["f1"] < 1 and rows["observer"]["roc_auc"] is None and "observer second" in out,
             error)
code, out, error = run(EVALUATE, "--predictions", at("maps"), at("data"), "--all", "-o", at("eval3"))
perfect = json.loads(read(at("eval3", "metrics.json")))["pooled"] if code == 0 else {}
checks.check("saved maps equal to the labels are perfect", perfect.get("f1") == 1 and perfect.get("roc_auc") == 1,
             error or perfect)
folder = os.fsencode(at("names"))
for kind, data in ((b"images", p.png(W, H, 3, rgb)), (b"labels", p.png(W, H, 1, p.label_bytes(W, H)))):
    os.makedirs(os.path.join(folder, kind))
    for name in (b"a,\"b\".png", b"bad\xff\xc0\xafutf8.png", "gr\u00fc\u00df \U0001f441.png".encode()):
        with open(os.path.join(folder, kind, name), "wb") as stream:
            stream.write(data)
code, out, error = run(EVALUATE, MODEL, at("names"), "--all", "-o", at("eval6"), errors="replace")
checks.check("strange file names: evaluated", code == 0, error)
valid(at("eval6", "metrics.json"))
valid(at("eval6", "metrics.csv"))
code, out, error = run(EVALUATE, "--predictions", at("seg3"), "--synthetic", 3, "-o", at("eval4"))
checks.check("a map that is missing is named", code == 1 and "synthetic-1000001" in error, error)
code, out, error = run(EVALUATE, "--hessian", "--synthetic", 3, "--synthetic-seed", 7, "-o", at("eval5"))
filtered = json.loads(read(at("eval5", "metrics.json")))["pooled"] if code == 0 else {}
checks.check("a filter without weights", code == 0 and filtered["roc_auc"] > 0.9 and filtered["f1"] > 0.5
             and filtered["calibration_error"] is None and abs(filtered["threshold"] - 0.5) < 1e-9, error or filtered)
code, out, error = run(EVALUATE, "--hessian", "--predictions", at("seg3"), "--synthetic", 3)
checks.check("one thing at a time", code == 2 and "only one" in error, error)
code, out, error = run(EVALUATE, "--hessian", "--tta", 4, "--synthetic", 3)
checks.check("a filter has no views", code == 2 and "--tta 4" in error, error)

# ---- Folders and disks that refuse ----

blocked = at("file-in-the-way")
write(blocked, b"x")
for program, command in ((TRAIN, SHORT), (SEGMENT, [MODEL, at("in", "one.png")]),
                         (EVALUATE, [MODEL, "--synthetic", 3])):
    name = NAMES[program]
    one_line(program, name + ": a file where the folder should be", run(program, *command, "-o", blocked + "/sub"), 1,
             blocked)
    if os.path.isdir("/proc/self"):
        one_line(program, name + ": a folder that cannot be made", run(program, *command, "-o", "/proc/nope"), 1,
                 "/proc/nope")

    def small_disk(limit=2000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    result = run(program, *command, "--quiet", "-o", at("full-" + name), preexec_fn=small_disk)
    one_line(program, name + ": the disk is full at the start", result, 1, at("full-" + name), "File too large")
    no_leftovers(at("full-" + name))

code, _, error = run(TRAIN, *SHORT, "--quiet", "-o", at("full"),
                     preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192)))
written = [f for f in ("model.safetensors", "checkpoint.safetensors") if os.path.exists(at("full", f))]
checks.check("the disk fills up while training: said, not half-written", code == 1
             and "checkpoint.safetensors" in error and not written, "exit %d, %s" % (code, error))
no_leftovers(at("full"))
before = read(at("cut", "checkpoint.safetensors"))
code, _, error = run(TRAIN, *LONG, "--quiet", "-o", at("cut"), "--overwrite",
                     preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192)))
checks.check("and an older checkpoint survives", code == 1 and read(at("cut", "checkpoint.safetensors")) == before)
if os.path.exists("/dev/full"):
    with open("/dev/full", "w") as full:
        done = subprocess.run([EVALUATE, MODEL, "--synthetic", "3", "--quiet", "-o", at("eval5")], stdout=full,
                              stderr=subprocess.PIPE, text=True)
    checks.check("standard output is full", done.returncode == 1 and "standard output" in done.stderr, done.stderr)

# ---- The ten lines of the README ----

if MINIMAL:
    write(at("photo.ppm"), b"P6\n%d %d\n255\n" % (W, H) + rgb)
    code, _, error = run(MINIMAL, MODEL, at("photo.ppm"), at("vessels.pgm"))
    checks.check("minimal-segment", code == 0 and len(read(at("vessels.pgm"))) == len("P5\n61 45\n255\n") + W * H,
                 error)
    code, _, error = run(MINIMAL, at("notmodel.safetensors"), at("photo.ppm"), at("vessels2.pgm"))
    checks.check("minimal-segment names a bad model", code == 1 and "notmodel" in error
                 and not os.path.exists(at("vessels2.pgm")), error)

shutil.rmtree(top, ignore_errors=True)
checks.finish()
