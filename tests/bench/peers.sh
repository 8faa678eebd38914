#!/bin/sh
# The same work through unetstar, PyTorch, oneDNN and onnxruntime, in turn. sh tests/bench/peers.sh --help lists the options.
set -eu
cd "$(dirname "$0")/../.."
export PYTHONDONTWRITEBYTECODE=1
exec python3 tests/bench/peers/run.py "$@"
