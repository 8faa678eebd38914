#!/usr/bin/env python3
"""The model inside the programs: what uses it and says so, and how it does on made-up and, where they are, on real photographs.

    test_builtin.py UNETSTAR_SEGMENT UNETSTAR_EVALUATE MODEL_FILE
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
    code, _, error = run(SEGMENT, *words, "-o", at("out", name))
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
        ("8 bits, for which it is not calibrated", [at("in"), "--precision", "int8"], 1, "the model inside")):
    code, _, error = run(SEGMENT, *words, "-o", at("refused"))
    checks.check(name, code == code_wanted and text in error.splitlines()[-1], error)

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
