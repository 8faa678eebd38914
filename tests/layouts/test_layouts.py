#!/usr/bin/env python3
"""Makes a miniature of every data set as it is distributed and asks unetstar-train --list how it pairs the files; then
breaks them in every way that happens to people and looks at the one line of error.

    test_layouts.py UNETSTAR_TRAIN MKFIXTURE
"""
import os
import shutil
import sys
import tempfile

import pictures as p
from checks import Checks, run, write

TRAIN, MKFIXTURE = sys.argv[1:3]
W, H = 64, 48
ONE_STEP = "--epochs 1 --steps 1 --batch 1 --narrow 0.0625 --patch 32 --levels 2 --quiet".split()
checks = Checks()
top = tempfile.mkdtemp(prefix="unetstar-layouts-")
rgb, label, mask = p.photo_bytes(W, H), p.label_bytes(W, H), p.mask_bytes(W, H)
has_tiff = "TIFF" in run(TRAIN, "--version")[1]
has_gzip = ".gz" in run(TRAIN, "--version")[1]


def jpeg(path, width=W, height=H):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    code, _, error = run(MKFIXTURE, path, width, height)
    assert code == 0, error


def listing(folder, *options):
    """{name: (purpose, image, label, mask)} with paths below the folder."""
    code, out, error = run(TRAIN, folder, "--list", *options)
    rows = {}
    for line in out.splitlines():
        purpose, name, image, label_path, mask_path = line.split("\t")
        rows[name] = (purpose,) + tuple(os.path.relpath(f, folder) if f != "-" else "-"
                                        for f in (image, label_path, mask_path))
    return code, rows, error


def expect(name, folder, wanted, *options):
    code, rows, error = listing(folder, *options)
    ok = code == 0 and rows == wanted
    checks.check(name, ok, "%d images paired" % len(rows) if ok else "exit %d, %s\n  wanted %s\n  got    %s"
                 % (code, error, sorted(wanted.items()), sorted(rows.items())))


def training_reads(name, folder, *options):
    """The pictures are decoded and pass the checks: one step is trained."""
    out = os.path.join(top, "out-" + name.split()[0])
    code, _, error = run(TRAIN, folder, "-o", out, *ONE_STEP, "--validation", "none", "--no-pictures", "--overwrite",
                         *options)
    checks.check(name + " is read and trains a step", code == 0, error)


def without_library(name, folder, library):
    """A format this build does not read is called by its name."""
    code, _, error = run(TRAIN, folder, "-o", os.path.join(top, "out-without"), *ONE_STEP)
    checks.check(name + " without " + library + " says so", code == 1 and "built without " + library in error, error)


# ---- The data sets as they are distributed ----

def stare(folder):
    names = ["im0001", "im0002", "im0003", "im0004", "im0162", "im0163", "im0319", "im0324"]
    for name in names:
        write(f"{folder}/stare-images/{name}.ppm.gz", p.ppm_gz(W, H, 3, rgb))
        write(f"{folder}/labels-ah/{name}.ah.ppm.gz", p.ppm_gz(W, H, 3, p.gray_to_rgb(label)))
        write(f"{folder}/labels-vk/{name}.vk.ppm.gz", p.ppm_gz(W, H, 3, p.gray_to_rgb(label)))
    return names


def stare_wanted(names, observer):
    return {n: ("test" if 4 <= i < 6 else "train", f"stare-images/{n}.ppm.gz",
                f"labels-{observer}/{n}.{observer}.ppm.gz", "-") for i, n in enumerate(names)}


folder = os.path.join(top, "STARE")
names = stare(folder)
expect("STARE, fold 2 of 4 by default", folder, stare_wanted(names, "ah"))
expect("STARE, second observer", folder, stare_wanted(names, "vk"), "--labels", "vk")
expect("STARE, second observer by folder", folder, stare_wanted(names, "vk"), "--labels", "labels-vk")
code, rows, _ = listing(folder, "--fold", "0", "--folds", "8")
checks.check("STARE, fold 0 of 8", code == 0 and [n for n in rows if rows[n][0] == "test"] == ["im0001"])
code, rows, _ = listing(folder, "--all")
checks.check("STARE, --all trains on everything", code == 0 and all(r[0] == "train" for r in rows.values()), len(rows))
code, rows, _ = listing(folder, "--validation", "images", "--validation-images", "2")
checks.check("STARE, whole images kept back", [n for n in rows if rows[n][0] == "validate"] == ["im0002", "im0319"],
             {n: r[0] for n, r in rows.items()})
if has_gzip:
    training_reads("STARE", folder)
else:
    without_library("STARE", folder, "zlib")

folder = os.path.join(top, "DRIVE")
wanted = {}
for part, numbers, tag in (("training", range(21, 25), "training"), ("test", range(1, 4), "test")):
    for i in numbers:
        write(f"{folder}/{part}/images/{i:02}_{tag}.tif", p.tiff(W, H, 3, rgb))
        write(f"{folder}/{part}/1st_manual/{i:02}_manual1.gif", p.gif(W, H, label))
        write(f"{folder}/{part}/mask/{i:02}_{tag}_mask.gif", p.gif(W, H, mask))
        if part == "test":
            write(f"{folder}/{part}/2nd_manual/{i:02}_manual2.gif", p.gif(W, H, label))
        wanted[f"{i:02}_{tag}"] = ("train" if part == "training" else "test", f"{part}/images/{i:02}_{tag}.tif",
                                   f"{part}/1st_manual/{i:02}_manual1.gif", f"{part}/mask/{i:02}_{tag}_mask.gif")
expect("DRIVE, its own split", folder, wanted)
code, rows, _ = listing(folder, "--folds", "7", "--fold", "6")
checks.check("DRIVE, folds over both parts", [n for n in rows if rows[n][0] == "test"] == ["03_test"], len(rows))
if has_tiff:
    training_reads("DRIVE", folder)
else:
    without_library("DRIVE", folder, "libtiff")
shutil.rmtree(f"{folder}/test/1st_manual")
code, _, error = listing(folder)
checks.check("DRIVE without test labels says what to do", code == 1 and "01_test.tif" in error and "--fold" in error,
             error)
code, rows, error = listing(folder, "--fold", "0")
checks.check("DRIVE without test labels, folds of the rest", code == 0 and sorted(rows) == [f"{i}_training" for i in
                                                                                         range(21, 25)], error)

folder = os.path.join(top, "CHASE")
wanted = {}
for i, name in enumerate(f"Image_{k:02}{side}" for k in range(1, 5) for side in "LR"):
    jpeg(f"{folder}/{name}.jpg")
    write(f"{folder}/{name}_1stHO.png", p.png(W, H, 1, label))
    write(f"{folder}/{name}_2ndHO.png", p.png(W, H, 1, label))
    wanted[name] = ("test" if 4 <= i < 6 else "train", f"{name}.jpg", f"{name}_1stHO.png", "-")
expect("CHASE_DB1", folder, wanted)
expect("CHASE_DB1, second observer", folder, {n: r[:2] + (r[2].replace("1st", "2nd"), "-") for n, r in wanted.items()},
       "--labels", "2ndHO")
training_reads("CHASE_DB1", folder)

folder = os.path.join(top, "HRF")
wanted = {}
for i, name in enumerate(["01_dr", "01_g", "01_h", "02_dr", "02_g", "02_h", "03_dr", "03_g"]):
    ending = "JPG" if name.endswith("dr") else "jpg"
    jpeg(f"{folder}/images/{name}.{ending}")
    write(f"{folder}/manual1/{name}.tif", p.tiff(W, H, 1, label))
    write(f"{folder}/mask/{name}_mask.tif", p.tiff(W, H, 3, p.gray_to_rgb(mask)))
    wanted[name] = ("test" if 4 <= i < 6 else "train", f"images/{name}.{ending}", f"manual1/{name}.tif",
                    f"mask/{name}_mask.tif")
expect("HRF", folder, wanted)
if has_tiff:
    training_reads("HRF", folder)

folder = os.path.join(top, "FIVES")
wanted = {}
for part, count in (("train", 4), ("test", 2)):
    for i in range(1, count + 1):
        write(f"{folder}/{part}/Original/{i}_A.png", p.png(W, H, 3, rgb))
        write(f"{folder}/{part}/Ground truth/{i}_A.png", p.png(W, H, 3, p.gray_to_rgb(label)))
        name = f"FIVES-{part}-{i}_A" if i <= 2 else f"{i}_A"
        wanted[name] = (part, f"{part}/Original/{i}_A.png", f"{part}/Ground truth/{i}_A.png", "-")
write(f"{folder}/train/Original/Thumbs.db", b"junk")
expect("FIVES, its own split, equal names kept apart", folder, wanted)
training_reads("FIVES", folder)

folder = os.path.join(top, "plain")
wanted = {}
for i in range(8):
    write(f"{folder}/images/eye {i}.bmp", p.bmp(W, H, rgb))
    write(f"{folder}/labels_ah/eye {i}.png", p.png(W, H, 1, bytes(v // 255 for v in label)))
    write(f"{folder}/masks/eye {i}_mask.pgm", p.pnm(W, H, 1, mask))
    wanted[f"eye {i}"] = ("test" if 4 <= i < 6 else "train", f"images/eye {i}.bmp", f"labels_ah/eye {i}.png",
                          f"masks/eye {i}_mask.pgm")
expect("plain folder, only one folder of labels", folder, wanted)
expect("plain folder, labels named", folder, wanted, "--labels", "labels_ah")
expect("plain folder, masks not wanted", folder, {n: r[:3] + ("-",) for n, r in wanted.items()}, "--masks", "none")
training_reads("plain folder", folder)
wide = b"".join(bytes((v, v)) for v in rgb)
os.remove(f"{folder}/images/eye 0.bmp")
write(f"{folder}/images/eye 0.png", p.png(W, H, 3, wide, bits=16))
training_reads("plain folder with a 16-bit PNG", folder)
if has_tiff:
    os.remove(f"{folder}/images/eye 1.bmp")
    write(f"{folder}/images/eye 1.tiff", p.tiff(W, H, 3, wide, bits=16))
    training_reads("plain folder with a 16-bit TIFF", folder)
shutil.copytree(f"{folder}/labels_ah", f"{folder}/labels_vk")
code, _, error = listing(folder)
checks.check("two folders of labels are a question", code == 1 and "labels_ah, labels_vk" in error
             and "--labels" in error, error)

folder = os.path.join(top, "split")
for part in ("train", "test"):
    for i in range(2):
        write(f"{folder}/{part}/images/{part}{i}.png", p.png(W, H, 3, rgb))
        write(f"{folder}/{part}/labels/{part}{i}.png", p.png(W, H, 1, label))
code, rows, error = listing(folder)
checks.check("plain folder with train and test", code == 0 and {n: r[0] for n, r in rows.items()} == {
    "train0": "train", "train1": "train", "test0": "test", "test1": "test"}, error)

# ---- What goes wrong ----

def fresh(name):
    """Eight sound samples to spoil; the training images come first, images 4 and 5 are the test fold."""
    where = os.path.join(top, name.replace(" ", "_"))
    for i in range(8):
        write(f"{where}/images/a{i}.png", p.png(W, H, 3, rgb))
        write(f"{where}/labels/a{i}.png", p.png(W, H, 1, label))
    return where


def fails(name, where, *needles, options=()):
    out = os.path.join(top, "never")
    code, _, error = run(TRAIN, where, "-o", out, *ONE_STEP, *options)
    lines = error.splitlines()
    ok = (code == 1 and len(lines) == 1 and lines[0].startswith("unetstar-train: ")
          and all(n in lines[0] for n in needles) and not os.path.exists(os.path.join(out, "model.safetensors")))
    checks.check(name, ok, "exit %d, %s" % (code, error))


where = fresh("label without image")
os.remove(f"{where}/images/a3.png")
fails("label without image", where, "labels/a3.png")
where = fresh("image without label")
os.remove(f"{where}/labels/a3.png")
fails("image without label", where, "images/a3.png")
where = fresh("image without mask")
for i in range(7):
    write(f"{where}/masks/a{i}.png", p.png(W, H, 1, mask))
fails("image without mask", where, "images/a7.png", "--masks none")
where = fresh("twice")
write(f"{where}/images/a3.pgm", p.pnm(W, H, 1, label))
fails("two images of one name", where, "a3.png", "a3.pgm")

whole = p.png(W, H, 3, rgb)
for kind, data, needle in (
        ("empty file", b"", "empty"),
        ("text named .png", b"this is not a picture\n", "not an image"),
        ("truncated PNG", whole[:len(whole) // 2], "too early"),
        ("PNG without its end", whole[:-12], "too early"),
        ("PNG with a flipped bit", whole[:60] + bytes((whole[60] ^ 4,)) + whole[61:], "checksum"),
        ("PNG with a huge header", p.png_header_only(1000000, 1000000), "1000000 x 1000000"),
        ("PNG with more header than data", p.png_header_only(4000, 4000), "damaged"),
        ("truncated PPM", p.pnm(W, H, 3, rgb)[:-1], "too early"),
        ("PPM with a huge header", b"P6\n99999 99999\n255\n", "99999 x 99999"),
        ("PPM with a header of nonsense", b"P6\n-3 x\n", "header"),
        ("truncated BMP", p.bmp(W, H, rgb)[:-100], "too early")):
    for i, part in ((1, "training"), (4, "test")):
        where = fresh(kind + part)
        write(f"{where}/images/a{i}.png", data)
        fails(f"{kind} as a {part} image", where, f"images/a{i}.png", needle)
    where = fresh(kind + "label")
    write(f"{where}/labels/a2.png", data)
    fails(f"{kind} as a label", where, "labels/a2.png", needle)

where = fresh("truncated jpeg")
os.remove(f"{where}/images/a1.png")
jpeg(f"{where}/images/a1.jpg")
with open(f"{where}/images/a1.jpg", "r+b") as stream:
    stream.truncate(os.path.getsize(f"{where}/images/a1.jpg") - 200)
fails("truncated JPEG", where, "images/a1.jpg", "too early")
whole = bytearray(open(f"{folder}/../CHASE/Image_01L.jpg", "rb").read())
whole[whole.index(b"\xff\xc4") + 5] = 255
write(f"{where}/images/a1.jpg", bytes(whole))
fails("JPEG with tables of nonsense", where, "images/a1.jpg", "tables")
where = fresh("truncated gif")
os.remove(f"{where}/labels/a1.png")
write(f"{where}/labels/a1.gif", p.gif(W, H, label)[:-300])
fails("truncated GIF", where, "labels/a1.gif", "too early")
if has_gzip:
    where = fresh("truncated gz")
    os.remove(f"{where}/images/a1.png")
    write(f"{where}/images/a1.ppm.gz", p.ppm_gz(W, H, 3, rgb)[:-20])
    fails("truncated gzip", where, "images/a1.ppm.gz", "too early")
    write(f"{where}/images/a1.ppm.gz", b"\x1f\x8b" + b"\7" * 50)
    fails("gzip of nonsense", where, "images/a1.ppm.gz")
    write(f"{where}/images/a1.ppm.gz", __import__("gzip").compress(b"\0" * 5000))
    fails("gzip of something else", where, "images/a1.ppm.gz", "not an image")
if has_tiff:
    where = fresh("truncated tiff")
    os.remove(f"{where}/images/a1.png")
    write(f"{where}/images/a1.tif", p.tiff(W, H, 3, rgb)[:-500])
    fails("truncated TIFF", where, "images/a1.tif")
    write(f"{where}/images/a1.tif", p.tiff(60000, 60000, 3, b""))
    fails("TIFF with a huge header", where, "images/a1.tif", "60000 x 60000")
    write(f"{where}/images/a1.tif", b"II*\0\xff\xff\xff\x7f")
    fails("TIFF of nonsense", where, "images/a1.tif")

for i, part in ((1, "training"), (4, "test")):
    where = fresh("label size" + part)
    write(f"{where}/labels/a{i}.png", p.png(W - 2, H, 1, p.label_bytes(W - 2, H)))
    fails(f"{part} label of another size", where, f"labels/a{i}.png", f"images/a{i}.png", "62 x 48", "64 x 48")
where = fresh("mask size")
for i in range(8):
    write(f"{where}/masks/a{i}.png", p.png(W, H - (i == 6), 1, p.mask_bytes(W, H - (i == 6))))
fails("mask of another size", where, "masks/a6.png", "64 x 47")

fails("no such folder", os.path.join(top, "nowhere"), "nowhere")
fails("a file instead of a folder", os.path.join(top, "plain/images/eye 2.bmp"), "eye 2.bmp")
os.makedirs(os.path.join(top, "void"))
fails("a folder without a data set", os.path.join(top, "void"), "void", "STARE")
os.makedirs(os.path.join(top, "void/images"))
os.makedirs(os.path.join(top, "void/labels"))
fails("no image at all", os.path.join(top, "void"), "void/images")
where = fresh("folds")
fails("more folds than images", where, "--folds 9", options=("--folds", "9"))
fails("labels that are not there", where, "nolabels", options=("--labels", "nolabels"))
fails("masks that are not there", where, "nomasks", options=("--masks", "nomasks"))
if os.getuid():
    os.chmod(f"{where}/images/a1.png", 0)
    fails("an image without permission", where, "images/a1.png", "ermission")
left = [f for f in os.listdir(os.path.join(top, "never")) if f != "test"]
checks.check("nothing was left in the output folder", not left, left)

shutil.rmtree(top, ignore_errors=True)
checks.finish()
