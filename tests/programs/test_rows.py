#!/usr/bin/env python3
"""Pictures row by row: the readers give the pixels of the whole decoders and refuse what those refuse; unetstar-segment writes
the same files whether a picture is in memory or passes through it, and leaves nothing behind when something fails.

    test_rows.py UNETSTAR_TRAIN UNETSTAR_SEGMENT COMPARE_ROWS MKFIXTURE
"""
import gzip
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
import zlib

import kinds as k

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "layouts"))
import pictures as p  # noqa: E402
from checks import Checks, read, run, write  # noqa: E402

TRAIN, SEGMENT, COMPARE, MKFIXTURE = sys.argv[1:5]
checks = Checks()
top = tempfile.mkdtemp(prefix="unetstar-rows-")
formats = run(SEGMENT, "--version")[1]
has_png, has_tiff, has_gzip = "16-bit" in formats, "TIFF" in formats, ".gz" in formats


def at(*parts):
    return os.path.join(top, *parts)


# ---- The same pixels ----

W, H = 37, 29
pictures = {}  # name: (content, "rows" or "whole")
by_rows = "rows" if has_png else "whole"
for bits in (1, 2, 4, 8, 16):
    gray = k.samples(W, H, 1, 2 ** bits - 1)
    pictures[f"gray{bits}.png"] = k.png(gray, bits, 0), by_rows
    pictures[f"gray{bits}-transparent.png"] = k.png(gray, bits, 0, transparency=b"\0\1"), by_rows
    pictures[f"gray{bits}-interlaced.png"] = k.png(gray, bits, 0, interlaced=True), "whole"
    if bits <= 8:
        palette = [((i * 37) % 256, (i * 91 + 5) % 256, 255 - i) for i in range(2 ** bits)]
        pictures[f"palette{bits}.png"] = k.png(gray, bits, 3, palette=palette), by_rows
        pictures[f"palette{bits}-transparent.png"] = k.png(gray, bits, 3, palette=palette, transparency=b"\0"), by_rows
        pictures[f"palette{bits}-interlaced.png"] = k.png(gray, bits, 3, palette=palette, interlaced=True), "whole"
for bits in (8, 16):
    for color, channels, name in ((2, 3, "rgb"), (4, 2, "gray-alpha"), (6, 4, "rgba")):
        rows = k.samples(W, H, channels, 2 ** bits - 1)
        pictures[f"{name}{bits}.png"] = k.png(rows, bits, color), by_rows
        pictures[f"{name}{bits}-interlaced.png"] = k.png(rows, bits, color, interlaced=True), "whole"
rgb = k.samples(W, H, 3, 255)
pictures["rgb8-transparent.png"] = k.png(rgb, 8, 2, transparency=b"\0\1\0\2\0\3"), by_rows
pictures["rgb8-gamma.png"] = k.png(rgb, 8, 2, more=k.chunk(b"gAMA", b"\0\0\x80\0")), by_rows
pictures["rgb8-many-chunks.png"] = k.png(rgb, 8, 2, pieces=200), by_rows
pictures["one-pixel.png"] = k.png([[(200, 100, 50)]], 8, 2), by_rows
pictures["one-column.png"] = k.png(k.samples(1, 40, 3, 255), 8, 2), by_rows
pictures["one-row.png"] = k.png(k.samples(40, 1, 1, 255), 8, 0), by_rows
for most in (1, 100, 255, 256, 4095, 65535):
    for channels in (1, 3):
        content = k.pnm(k.samples(W, H, channels, most), most)
        pictures[f"max{most}-{channels}.pnm"] = content, "rows"
        if has_gzip:
            pictures[f"max{most}-{channels}.pnm.gz"] = gzip.compress(content, mtime=0), "rows"
pictures["more-behind.ppm"] = k.pnm(rgb, 255) + b"and more", "rows"
pictures["values-above-max.pgm"] = k.pnm(k.samples(W, H, 1, 255), 100), "rows"
pictures["long-comment.ppm"] = b"P6 #" + b"x" * 3000 + b"\n%d %d 255\n" % (W, H) + b"".join(
    k.pack(row, 8) for row in rgb), "whole"
if has_gzip:
    pictures["rgb8.png.gz"] = gzip.compress(pictures["rgb8.png"][0], mtime=0), "whole"
if has_tiff:
    for compression, how in ((1, "plain"), (8, "deflate"), (32773, "packbits")):
        for bits in (8, 16):
            for channels in (1, 3):
                rows = k.samples(W, H, channels, 2 ** bits - 1)
                pictures[f"{how}{bits}-{channels}.tif"] = k.tiff(rows, bits, compression=compression), "rows"
    for big in (False, True):
        pictures[f"rgb16-big{big}.tif"] = k.tiff(k.samples(W, H, 3, 65535), 16, big=big), "rows"
        pictures[f"rgb8-big{big}.tif"] = k.tiff(rgb, 8, big=big), "rows"
    pictures["rgb8-one-strip.tif"] = k.tiff(rgb, 8, strip=H), "rows"
    pictures["rgb8-strip-of-one.tif"] = k.tiff(rgb, 8, strip=1), "rows"
    pictures["rgba16.tif"] = k.tiff(k.samples(W, H, 4, 65535), 16, extra=2), "rows"
    pictures["rgba8.tif"] = k.tiff(k.samples(W, H, 4, 255), 8, extra=2), "whole"
    pictures["rgb8-planes.tif"] = k.tiff(rgb, 8, planar=2), "whole"
    pictures["rgb8-tiles.tif"] = k.tiff(rgb, 8, tile=16, compression=8), "whole"
    pictures["white-is-zero.tif"] = k.tiff(k.samples(W, H, 1, 255), 8, photometric=0), "whole"
    pictures["bilevel.tif"] = k.tiff(k.samples(W, H, 1, 1), 1), "whole"
    pictures["upside-down.tif"] = k.tiff(rgb, 8, orientation=4), "whole"
    pictures["palette.tif"] = k.tiff(k.samples(W, H, 1, 255), 8, photometric=3,
                                     palette=[((i * 37) % 256, 255 - i, i) for i in range(256)]), "whole"
flat = b"".join(k.pack(row, 8) for row in rgb)
pictures["plain.bmp"] = p.bmp(W, H, flat), "whole"
pictures["plain.gif"] = p.gif(W, H, p.label_bytes(W, H)), "whole"
for name, (content, _) in pictures.items():
    write(at("kinds", name), content)
run(MKFIXTURE, at("kinds", "plain.jpg"), W, H)
pictures["plain.jpg"] = read(at("kinds", "plain.jpg")), "whole"


def compared(names):
    """{name: (how, verdict, sentence)}"""
    code, out, error = run(COMPARE, *(at("kinds", name) for name in names))
    found = {}
    for line in out.splitlines():
        path, how, verdict, sentence, first = line.split("\t")
        found[os.path.basename(path)] = how, verdict, sentence, first
    return code, found


code, found = compared(pictures)
for name, (_, how) in pictures.items():
    seen = found.get(name, ("no line",))
    checks.check("same pixels: " + name, seen[:2] == (how, "same"), seen)
checks.check("every picture has been compared", code == 0 and len(found) == len(pictures), len(found))

# ---- The same refusals ----

big = k.samples(150, 90, 3, 255)
large = {"png": k.png(big, 8, 2), "ppm": k.pnm(big, 255)}
if has_gzip:
    large["ppm.gz"] = gzip.compress(large["ppm"], mtime=0)
if has_tiff:
    large["tif"] = k.tiff(big, 8)
broken = {}
for ending, content in large.items():
    broken["half." + ending] = content[:len(content) // 2]
    broken["header." + ending] = content[:20]
    broken["nearly." + ending] = content[:-5]
flipped = bytearray(large["png"])
flipped[len(flipped) // 2] ^= 4
broken["bit.png"] = bytes(flipped)
broken["huge.png"] = p.png_header_only(60000, 50)
broken["no-data.png"] = p.png_header_only(500, 400)
broken["wrong-text.png"] = k.png(rgb, 8, 2, more=k.chunk(b"tEXt", b"a\0b")[:-1] + b"x")
if has_gzip:
    flipped = bytearray(large["ppm.gz"])
    flipped[-6] ^= 1
    broken["checksum.ppm.gz"] = bytes(flipped)
    flipped = bytearray(large["ppm.gz"])
    flipped[len(flipped) // 2] ^= 16
    broken["bit.ppm.gz"] = bytes(flipped)
broken["words.ppm"] = b"P6 wide high deep " + bytes(3000)
broken["zero.ppm"] = b"P6 0 5 255\n" + bytes(50)
broken["max.ppm"] = b"P6 5 5 70000\n" + bytes(500)
broken["wide.ppm"] = b"P6 40000 1 255\n" + bytes(120000)
broken["empty.png"] = b""
broken["words.png"] = b"no picture at all"
for name, content in broken.items():
    write(at("kinds", name), content)
code, found = compared(broken)
for name in broken:
    seen = found.get(name, ("no line", "", "", ""))
    checks.check("refused: " + name, seen[1] == "refused" and at("kinds", name) in seen[2], seen[1:])
code, found = compared(["nowhere.png"])
checks.check("a file that is not there", found["nowhere.png"][1] == "refused" and "nowhere" in found["nowhere.png"][2],
             found)

# ---- The same results ----

TINY = ["--synthetic", 3, "--synthetic-size", "64x48", "--narrow", 0.0625, "--levels", 2, "--patch", 32, "--batch", 2,
        "--epochs", 1, "--steps", 3, "--quiet"]
KINDS = ("probability", "vessels", "overlay")
for name, more in (("gray", []), ("rgb", ["--preset", "original-rgb"]), ("three", ["--classes", 3]),
                   ("slow", ["--narrow", 0.25])):
    code, _, error = run(TRAIN, *TINY, *more, "-o", at("model", name))
    checks.check("a model to test with: " + name, code == 0, error)
MODEL = at("model", "gray", "model.safetensors")

photo = [[tuple(v) for v in zip(*[iter(p.photo_bytes(W * 3, H * 3)[y * W * 9:(y + 1) * W * 9])] * 3)]
         for y in range(H * 3)]
photo = [[tuple(min(255, v + (x * y + c) % 9) for c, v in enumerate(pixel)) for x, pixel in enumerate(row)]
         for y, row in enumerate(photo)]
wide = [[tuple(v * 257 for v in pixel) for pixel in row] for row in photo]
gray = [[(pixel[1],) for pixel in row] for row in photo]
inputs = {"rgb.png": k.png(photo, 8, 2), "wide.png": k.png(wide, 16, 2), "gray.png": k.png(gray, 8, 0),
          "interlaced.png": k.png(photo, 8, 2, interlaced=True), "color.ppm": k.pnm(photo, 255),
          "gray16.pgm": k.pnm([[(v[0] * 257,) for v in row] for row in gray], 65535)}
if has_gzip:
    inputs["packed.ppm.gz"] = gzip.compress(k.pnm(photo, 255), mtime=0)
if has_tiff:
    inputs["strips.tif"] = k.tiff(photo, 8, compression=8)
    inputs["tiles.tif"] = k.tiff(photo, 8, tile=16, compression=8)
for name, content in inputs.items():
    write(at("in", name), content)
run(MKFIXTURE, at("in", "jpeg.jpg"), 90, 70)
inputs["jpeg.jpg"] = read(at("in", "jpeg.jpg"))


def results(folder):
    return {name: read(os.path.join(folder, name)) for name in sorted(os.listdir(folder))} if os.path.isdir(
        folder) else {}


def same_results(name, rowwise, *command):
    """The run with the options `rowwise` writes the files of the run without."""
    whole, rows = at("whole-" + name), at("rows-" + name)
    first = run(SEGMENT, *command, "--quiet", "-o", whole)
    second = run(SEGMENT, *command, *rowwise, "--quiet", "-o", rows)
    one, two = results(whole), results(rows)
    checks.check("same files: " + name, first[0] == second[0] == 0 and one and one == two,
                 (first[2] + second[2] or "%d files" % len(two)) if one == two or not two
                 else [f for f in one if one[f] != two.get(f)])


modes = {"limit": ["--memory", 2000], "stream": ["--stream"]}
for mode, options in modes.items():
    same_results(mode + " every format", options, MODEL, at("in"))
    for model in ("rgb", "three"):
        same_results(mode + " model " + model, options, at("model", model, "model.safetensors"), at("in", "rgb.png"),
                     at("in", "gray16.pgm"))
    if has_png:
        same_results(mode + " 16 bits", options, MODEL, at("in", "wide.png"), "--bits", 16)
    same_results(mode + " only the map", options, MODEL, at("in", "rgb.png"), "--no-overlay", "--no-vessels")
    same_results(mode + " only the overlay", options, MODEL, at("in", "packed.ppm.gz" if has_gzip else "color.ppm"),
                 "--no-probability", "--no-vessels", "--threshold", 0.3)
    same_results(mode + " two models", options, MODEL + "," + at("model", "slow", "model.safetensors"),
                 at("in", "rgb.png"))
    same_results(mode + " made up", options, MODEL, "--synthetic", 9, "--synthetic-size", "96x64")
    same_results(mode + " clipped", options, MODEL, at("in", "strips.tif" if has_tiff else "rgb.png"), "--clip")
    same_results(mode + " two views", options, MODEL, at("in", "rgb.png"), "--tta", 2)

# A limit below what the whole image needs: the session streams. With a mask it does from a picture in memory.
TALL_W, TALL_H = 210, 900
write(at("tall", "tall.png"), p.png(TALL_W, TALL_H, 3, p.photo_bytes(TALL_W, TALL_H)))
write(at("tall-mask.png"), p.png(TALL_W, TALL_H, 1, bytes(255 if i % TALL_W > 20 else 0
                                                          for i in range(TALL_W * TALL_H))))
same_results("small limit", ["--memory", 6], MODEL, at("tall", "tall.png"))
same_results("small limit, with a mask", ["--memory", 8], MODEL, at("tall", "tall.png"), "--clip", "--mask",
             at("tall-mask.png"))
for limit, word in ((6, "rings"), (2000, "maps")):
    code, _, error = run(SEGMENT, MODEL, at("tall", "tall.png"), "--memory", limit, "-o", at("tall-out"))
    checks.check("with %d MB: %s" % (limit, word), code == 0 and "210 x 900: " + word in error, error)

# ---- Nothing half-done ----

noise = [[tuple((x * 7919 ^ y * 104729 ^ c * 31) % 251 for c in range(3)) for x in range(320)] for y in range(260)]
write(at("noise", "noise.ppm"), k.pnm(noise, 255))
lines = k.png(big, 8, 2)
write(at("cut", "cut.png"), lines[:len(lines) * 3 // 4])
write(at("cut", "good.png"), lines)
write(at("long", "long.png"), p.png(2000, 1600, 3, bytes(range(250)) * (2000 * 1600 * 3 // 250)))
for mode, options in modes.items():
    folder = at("cut-" + mode)
    code, _, error = run(SEGMENT, MODEL, at("cut", "cut.png"), *options, "--quiet", "-o", folder)
    checks.check(mode + ": a cut-off PNG is named and leaves nothing", code == 1 and at("cut", "cut.png") in error
                 and "too early" in error and len(error.splitlines()) == 1 and os.listdir(folder) == [], error)
    code, _, error = run(SEGMENT, MODEL, at("cut"), *options, "--quiet", "-o", folder)
    checks.check(mode + ": and the others are done", code == 1 and "1 of 2" in error
                 and sorted(os.listdir(folder)) == ["good-%s.png" % kind for kind in sorted(KINDS)], error)
    folder = at("full-" + mode)
    code, _, error = run(SEGMENT, MODEL, at("noise", "noise.ppm"), *options, "--quiet", "-o", folder,
                         preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192)))
    checks.check(mode + ": a disk that fills up is told, and nothing is left", code == 1 and "File too large" in error
                 and folder in error and os.listdir(folder) == [], error)

    folder = at("stopped-" + mode)
    process = subprocess.Popen([SEGMENT, at("model", "slow", "model.safetensors"), at("long", "long.png"),
                                *map(str, options), "--quiet", "-o", folder], stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, text=True)
    deadline = time.time() + 60
    while time.time() < deadline and process.poll() is None and not (
            os.path.isdir(folder) and any(name.startswith("long") for name in os.listdir(folder))):
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    error = process.stderr.read()
    code = process.wait(timeout=120)
    checks.check(mode + ": Ctrl-C ends with 130 and leaves nothing", code == 130 and "interrupted" in error
                 and os.listdir(folder) == [], "exit %d, %s, %s" % (code, error, os.listdir(folder)))
no_tmp = [name for _, _, names in os.walk(top) for name in names if ".tmp" in name]
checks.check("no temporary file anywhere", not no_tmp, no_tmp)

# ---- Memory ----


def in_little_memory(height, *options):
    """Segments a picture of 300 columns in a process that may have 24 MB for its data."""
    return run(SEGMENT, MODEL, at("narrow", "%d.png" % height), *options, "--threads", 1, "--quiet", "-o", at("narrow-out"),
               preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (24 << 20, 24 << 20)))


# Linux counts anonymous memory towards this limit; the address sanitizer's own would not fit.
if has_png and sys.platform == "linux" and b"__asan_init" not in read(SEGMENT):
    line = bytes((i * 37 + 11) % 256 for i in range(300 * 3))
    for height in (400, 12000):
        raw = b"".join(b"\0" + line[i % 90 * 3:] + line[:i % 90 * 3] for i in range(height))
        write(at("narrow", "%d.png" % height), b"\x89PNG\r\n\x1a\n" + k.chunk(
            b"IHDR", k.struct.pack(">IIBBBBB", 300, height, 8, 2, 0, 0, 0)) + k.chunk(
            b"IDAT", zlib.compress(raw)) + k.chunk(b"IEND", b""))
    for height in (400, 12000):
        code, _, error = in_little_memory(height, "--stream")
        checks.check("%d rows pass through 24 MB" % height, code == 0, error)
    code, _, error = in_little_memory(12000)
    checks.check("and do not fit in whole", code == 1 and "memory" in error, error)

# ---- Wrong use ----


def refused(name, command, code, *needles):
    seen = run(SEGMENT, *command)
    checks.check(name, seen[0] == code and len(seen[2].splitlines()) == 1 and all(n in seen[2] for n in needles),
                 "exit %d, %s" % (seen[0], seen[2]))


image = at("in", "rgb.png")
refused("--mask with --stream", [MODEL, image, "--stream", "--mask", image, "-o", at("no")], 2, "--mask", "--stream",
        "rows")
refused("a precision that is none", [MODEL, image, "--precision", "half", "-o", at("no")], 2, "fast, exact, int8")
refused("three views", [MODEL, image, "--tta", 3, "-o", at("no")], 2, "1, 2, 4, 8")
refused("three views by the older name", [MODEL, image, "--views", 3, "-o", at("no")], 2, "--tta 3")
refused("memory that is no number", [MODEL, image, "--memory", "much", "-o", at("no")], 2, "--memory much")
for views in 4, 8:
    refused("%d views of a stream" % views, [MODEL, image, "--stream", "--tta", views, "-o", at("no")], 2, "--stream",
            "--tta %d" % views)
checks.check("and nothing was written", not os.path.exists(at("no")))
refused("a limit that nothing fits in", [MODEL, at("long", "long.png"), "--memory", 1, "--quiet", "-o", at("small")], 1,
        "long.png")
checks.check("and no file is left", os.listdir(at("small")) == [])
code, _, error = run(SEGMENT, MODEL, image, "--precision", "exact", "-o", at("exact"))
checks.check("exact precision", code == 0, error)
checks.check("the closing lines tell threshold and memory", "threshold stored in the model" in error
             and "Memory for the image, 111 x 87" in error and "weights" in error, error)
code, _, error = run(SEGMENT, MODEL, image, "--precision", "int8", "-o", at("int8"))
checks.check("8 bits without a calibration: what is missing, and what makes it", code == 1 and "no calibration" in error
             and "--calibrate" in error, error)

# Weights that are no numbers: no vessels would be a lie.
weights = bytearray(read(MODEL))
start = 8 + struct.unpack("<Q", weights[:8])[0]
first, end = json.loads(weights[8:start])["encoder.0.conv.0.weight"]["data_offsets"]
weights[start + first:start + end] = struct.pack("<f", float("nan")) * ((end - first) // 4)
write(at("nan.safetensors"), bytes(weights))
os.makedirs(at("nan"), exist_ok=True)
for mode in ([], ["--stream"]):
    refused("weights that are no numbers " + " ".join(mode), [at("nan.safetensors"), image, "--quiet", *mode, "-o", at("nan")],
            1, "NaN")
checks.check("and no picture is left", os.listdir(at("nan")) == [])
code, _, error = run(SEGMENT, MODEL, image, "--tta", 4, "--quiet", "-o", at("tta"))
code2, _, error2 = run(SEGMENT, MODEL, image, "--views", 4, "--quiet", "-o", at("views"))
checks.check("--views is --tta", code == code2 == 0 and results(at("tta")) == results(at("views")), error + error2)

shutil.rmtree(top, ignore_errors=True)
checks.finish()
