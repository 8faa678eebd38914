#!/usr/bin/env python3
"""The model inside the programs: what uses it and says so, and how it does on made-up and, where they are, on real photographs.

    test_builtin.py UNETSTAR_SEGMENT UNETSTAR_EVALUATE MODEL_FILE
"""
import json
import os
import re
import shutil
import struct
import sys
import tempfile
import zlib

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "layouts"))
import pictures as p  # noqa: E402
from checks import Checks, read, run, write  # noqa: E402

SEGMENT, EVALUATE, MODEL = sys.argv[1:4]
STARE = os.path.join(os.path.dirname(os.path.abspath(__file__)), *[os.pardir] * 3, "shared", "data", "stare")
checks = Checks()
top = tempfile.mkdtemp(prefix="unetstar-builtin-")
W, H = 96, 80


def at(*parts):
    return os.path.join(top, *parts)


# ---- The file ----

data = read(MODEL)
meta = json.loads(data[8:8 + struct.unpack("<Q", data[:8])[0]])["__metadata__"]
checks.check("it is small", len(data) <= 1000000, len(data))
checks.check("it holds a threshold and says what it is", 0 < float(meta["threshold"]) < 1 and
             "made-up" in meta["description"], meta.get("description"))

# ---- Who uses it ----

write(at("in", "eye.png"), p.png(W, H, 3, p.photo_bytes(W, H)))
write(at("other", "model.bin"), data)
said = "model    built-in: " + meta["description"]
for name, words, says in (("photo", [at("in", "eye.png")], True), ("folder", [at("in")], True),
                          ("positional", [MODEL, at("in", "eye.png")], False),
                          ("other name", [at("other", "model.bin"), at("in")], False),
                          ("list", [MODEL + "," + MODEL, at("in")], False), ("option", ["-m", MODEL, at("in")], False),
                          ("long option", [at("in", "eye.png"), "--model", MODEL], False)):
    code, _, error = run(SEGMENT, *words, "--scale", 1, "-o", at("out", name))
    checks.check(name + ": is segmented", code == 0, error[-200:])
    checks.check(name + (": says that the model is built in" if says else ": does not"), (said in error) == says)
checks.check("the model inside is the file", len({
    b"".join(read(at("out", name, "eye-%s.png" % kind)) for kind in ("probability", "vessels", "overlay"))
    for name in os.listdir(at("out"))}) == 1, os.listdir(at("out")))
code, _, error = run(SEGMENT, at("in"), "-o", at("quiet"), "--quiet")
checks.check("quiet", code == 0 and not error, error)
for name, words, code_wanted, text in (
        ("no image", [], 2, "image or folder"), ("a model and no image", [MODEL], 2, "at least one image"),
        ("a model that is not there", ["-m", at("none.bin"), at("in")], 1, "none.bin"),
        ("a photograph that is not there", [at("none.jpg")], 1, "none.jpg"),
        ("a stream that is scaled", [at("in"), "--stream", "--scale", .5], 2, "--scale and --stream"),
        ("a stream that is scaled by itself", [at("in"), "--stream", "--scale", "auto"], 2, "--scale and --stream"),
        ("no scale", [at("in"), "--scale", 0], 2, "--scale"),
        ("8 bits, for which it is not calibrated", [at("in"), "--precision", "int8"], 1, "the model inside")):
    code, _, error = run(SEGMENT, *words, "-o", at("refused"))
    checks.check(name, code == code_wanted and text in error.splitlines()[-1], error)

# ---- The size it looks at ----


def results(folder, name="eye"):
    return b"".join(read(at(folder, name + "-%s.png" % kind)) for kind in ("probability", "vessels", "overlay"))


def gray_rows(path):
    """The samples of a PNG of one channel and 8 bits."""
    file, at_byte, packed = read(path), 8, b""
    width, height = struct.unpack(">II", file[16:24])
    while at_byte < len(file):
        length, kind = struct.unpack(">I4s", file[at_byte:at_byte + 8])
        packed += file[at_byte + 8:at_byte + 8 + length] if kind == b"IDAT" else b""
        at_byte += 12 + length
    packed, above, rows = zlib.decompress(packed), [0] * width, []
    for y in range(height):
        line, row, left, corner = packed[y * (width + 1):(y + 1) * (width + 1)], [], 0, 0
        for x in range(width):
            up, guess = above[x], left + above[x] - corner
            paeth = min((abs(guess - v), i, v) for i, v in enumerate((left, up, corner)))[2]
            left = (line[x + 1] + (0, left, up, (left + up) // 2, paeth)[line[0]]) & 255
            corner = up
            row.append(left)
        above = row
        rows.append(row)
    return rows


def enlarged(samples, width, height, channels, k):
    rows = [samples[y * width * channels:(y + 1) * width * channels] for y in range(height)]
    wide = [b"".join(row[x:x + channels] * k for x in range(0, len(row), channels)) for row in rows]
    return p.png(width * k, height * k, channels, b"".join(row * k for row in wide))


# Every pixel four times: half of its size is the photograph itself, and so is what the network sees.
photo = p.photo_bytes(W, H)
disc = bytes(255 * (photo[3 * i] > 100) for i in range(W * H))
write(at("twice", "eye.png"), enlarged(photo, W, H, 3, 2))
write(at("masks", "eye.png"), enlarged(disc, W, H, 1, 2))
write(at("mask", "eye.png"), p.png(W, H, 1, disc))
for name, words in (("1", [at("in"), "--scale", 1]), ("auto", [at("in")]), ("own", [MODEL, at("in")]),
                    ("stream", [at("in"), "--stream"]), ("mask", [at("in"), "--scale", 1, "--mask", at("mask"), "--clip"]),
                    ("half", [at("twice"), "--scale", .5, "--mask", at("masks"), "--clip"])):
    code, _, error = run(SEGMENT, *words, "-o", at("scale", name))
    checks.check("scale, " + name, code == 0 and bool(re.search(
        r"eye.png: field of view of (80 pixels, segmented at 8.12|81 pixels, segmented at 8.02) of its size", error)) ==
                 (name == "auto"), error)
    checks.check("scale, " + name + ": a note on streams", ("so it is not scaled" in error) == (name == "stream"), error)
    size = struct.unpack(">II", read(at("scale", name, "eye-overlay.png"))[16:24])
    checks.check("scale, " + name + ": size", size == ((2 * W, 2 * H) if name == "half" else (W, H)), size)
for name, other, same in (("1", "own", True), ("1", "stream", True), ("1", "auto", False)):
    checks.check("scale: %s and %s" % (name, other),
                 (results("scale/" + name) == results("scale/" + other)) == same)
small, large = (gray_rows(at("scale", name, "eye-probability.png")) for name in ("mask", "half"))
worst, seen = 0, 0
for y in range(2 * H):
    for x in range(2 * W):
        # Of the four nearest centres, the nearer ones a quarter of a pixel away.
        x0, y0, dx, dy = (x - 1) // 2, (y - 1) // 2, .75 - x % 2 * .5, .75 - y % 2 * .5
        wanted = sum(small[min(max(y0 + j, 0), H - 1)][min(max(x0 + i, 0), W - 1)] * abs(1 - i - dx) * abs(1 - j - dy)
                     for i in (0, 1) for j in (0, 1)) if disc[y // 2 * W + x // 2] else 0
        worst, seen = max(worst, abs(wanted - large[y][x])), max(seen, large[y][x])
checks.check("scale, half: the map of the photograph itself, linear between its pixels", worst <= 1.01 and seen > 100,
             (worst, seen))

# ---- How it does ----

code, out, error = run(SEGMENT, "--synthetic", 77, "--synthetic-size", "350x300", "-o", at("made-up"))
checks.check("a made-up photograph", code == 0 and "synthetic-77" in out, error)
code, out, error = run(EVALUATE, "--synthetic", 12, "--synthetic-size", "500x432", "--synthetic-seed", 700000,
                       "--threshold", "model", "-o", at("eval"))
pooled = json.loads(read(at("eval", "metrics.json")))["pooled"] if code == 0 else {}
checks.check("made-up photographs it has not seen", pooled.get("roc_auc", 0) > .95 and pooled.get("f1", 0) > .78,
             error if code else (pooled["roc_auc"], pooled["f1"]))
if not os.path.isdir(os.path.join(STARE, "images")):
    print("skipped: STARE is not there")
elif b"__asan_init" in read(EVALUATE):
    print("skipped: STARE takes too long with sanitizers")
else:
    code, out, error = run(EVALUATE, STARE, "--labels", "labels_ah", "--all", "--threshold", "model", "-o", at("stare"))
    pooled = json.loads(read(at("stare", "metrics.json")))["pooled"] if code == 0 else {}
    checks.check("STARE: better than a filter made by hand (.9587, .8202, .7434)",
                 pooled.get("roc_auc", 0) > .9587 and pooled.get("average_precision", 0) > .8202 and
                 pooled.get("f1", 0) > .7434,
                 error if code else (pooled["roc_auc"], pooled["average_precision"], pooled["f1"]))

shutil.rmtree(top)
checks.finish()
