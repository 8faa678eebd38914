#!/bin/sh
# Trains the model that ships in the programs, models/fundus.safetensors, on made-up photographs alone: no data is needed,
# and every machine gets the same bytes.
#
#     sh examples/train-default-model.sh [DIR]      DIR: build/default-model
#     UNETSTAR_TRAIN=path/to/unetstar-train sh examples/train-default-model.sh
#
# Builds into build/default-model-programs unless UNETSTAR_TRAIN names the program. docs/default-model.md says more.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
case ${1:-} in
-h | --help)
    sed -n '2,8s/^# \{0,1\}//p' "$0"
    exit 0
    ;;
esac
out=${1:-$root/build/default-model}
train=${UNETSTAR_TRAIN:-}
if [ -z "$train" ]; then
    build=$root/build/default-model-programs
    [ -f "$build/build.ninja" ] || meson setup "$build" "$root" --buildtype=release -Dtests=disabled
    meson compile -C "$build"
    train=$build/examples/unetstar-train
fi

# 200 pictures: with --all the quarter more that would test is trained on too.
"$train" --synthetic 160 --synthetic-size 700x605 --all \
    --color green \
    --fusion sum --activation leaky-relu --leaky-slope 0.1 --narrow 0.125 --full-resolution-head \
    --epochs 36 --steps 125 --lr 0.001 --validation none --early-stop 0 \
    --gamma-jitter 0.3 --contrast 0.2 --brightness 0.1 \
    --description 'trained on made-up photographs only' \
    --overwrite --out "$out"

sum=$(sha256sum <"$out/model.safetensors" | cut -d ' ' -f 1)
echo "$out/model.safetensors: $sum"
if [ "$sum" = "$(sha256sum <"$root/models/fundus.safetensors" | cut -d ' ' -f 1)" ]; then
    echo 'These are the bytes of models/fundus.safetensors.'
else
    echo 'These are not the bytes of models/fundus.safetensors.'
fi
