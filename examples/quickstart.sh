#!/bin/sh
# From a fresh checkout to a first segmented picture in about two minutes, without any data.
#
#     sh examples/quickstart.sh                  made-up fundus pictures
#     sh examples/quickstart.sh --stare DIR      STARE as distributed (stare-images, labels-ah), a few minutes
#
# Builds into build/quickstart and writes pictures and tables into build/quickstart/result.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
build=$root/build/quickstart
result=$build/result
packages='meson ninja-build gcc pkg-config libstb-dev zlib1g-dev libpng-dev libtiff-dev'
stare=

fail() {
    printf 'quickstart: %s\n' "$*" >&2
    exit 1
}

while [ $# -gt 0 ]; do
    case $1 in
    --stare)
        [ $# -ge 2 ] || fail '--stare needs a folder'
        stare=$(CDPATH='' cd -- "$2" && pwd) || fail "no such folder: $2"
        shift 2
        ;;
    -h | --help)
        sed -n '2,7s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    *) fail "unknown option $1 (there are --stare DIR and --help)" ;;
    esac
done

# ---- What is missing? The image libraries are optional, so they are only asked for where apt can bring them. ----
missing=
for tool in meson ninja pkg-config; do
    command -v "$tool" >/dev/null 2>&1 || missing="$missing $tool"
done
if ! command -v "${CC:-cc}" >/dev/null 2>&1; then
    missing="$missing C-compiler"
elif ! printf '#include <stb/stb_image.h>\n' | "${CC:-cc}" -E - >/dev/null 2>&1 &&
    ! printf '#include <stb_image.h>\n' | "${CC:-cc}" -E - >/dev/null 2>&1; then
    missing="$missing stb_image.h"
fi
if [ -n "$missing" ]; then
    printf 'Missing:%s\n' "$missing"
    command -v apt-get >/dev/null 2>&1 || fail "please install: $packages (names of Debian and Ubuntu)"
    if [ "$(id -u)" -ne 0 ]; then
        printf 'Please run this one line and start again:\n\n    sudo apt-get install %s\n\n' "$packages"
        exit 1
    fi
    apt-get update -qq
    # shellcheck disable=SC2086 # a list of words
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages
fi

# ---- Build ----
printf '\n== Building into %s\n' "$build"
if [ ! -f "$build/build.ninja" ]; then
    mkdir -p "$root/build"
    meson setup "$build" "$root" --buildtype=release -Dtests=disabled >"$root/build/quickstart.log" 2>&1 || {
        cat "$root/build/quickstart.log"
        fail 'meson setup failed'
    }
fi
meson compile -C "$build" >"$build/compile.log" 2>&1 || {
    tail -n 30 "$build/compile.log"
    fail "the build failed; all of it is in $build/compile.log"
}
train=$build/examples/unetstar-train
segment=$build/examples/unetstar-segment
[ -x "$train" ] || fail "the programs were not built; see $root/build/quickstart.log"

# ---- Train and segment ----
if [ -n "$stare" ]; then
    printf '\n== Training on STARE: fold 2 of 4, a quarter of the width, 8 epochs\n'
    "$train" "$stare" --activation relu --narrow 0.25 --epochs 8 --steps 60 --overwrite -o "$result"
    photo=$(find "$stare/stare-images" "$stare/images" -name 'im0162.*' 2>/dev/null | head -n 1)
    [ -n "$photo" ] || fail "im0162 is not in $stare"
    printf '\n== Segmenting a photograph the network has not seen: %s\n' "$photo"
    "$segment" "$result/model.safetensors" "$photo" -o "$result/segmented"
else
    printf '\n== Segmenting a made-up photograph with the model that ships\n'
    "$segment" --synthetic 24 --synthetic-size 512 -o "$result/shipped"
    printf '\n== Training on 24 made-up photographs, for a minute; the model that ships had 200 and a quarter of an hour\n'
    "$train" --synthetic 24 --synthetic-size 480 --color green --fusion sum --activation leaky-relu --leaky-slope 0.1 \
        --narrow 0.125 --full-resolution-head --lr 0.003 --epochs 6 --steps 60 --overwrite -o "$result"
    printf '\n== Segmenting one this network has not seen\n'
    "$segment" "$result/model.safetensors" --synthetic 24000 --synthetic-size 512 -o "$result/segmented"
fi

printf '\n== Look at\n'
for file in "$result"/shipped/*.png "$result"/segmented/*.png "$result"/test/*-errors.png "$result"/*.svg; do
    [ ! -f "$file" ] || printf '   %s\n' "$file"
done
printf '   The model is %s; without one, %s PHOTO uses the one that ships.\n' "$result/model.safetensors" "$segment"
printf '   %s --help shows what else there is.\n' "$train"
