#!/usr/bin/env bash
# bundle.sh MASKCAST BUNDLE_DIR: gathers what a GPU machine needs for run.sh, checks that it is small enough to be carried, and
# packs it. MASKCAST is built without GStreamer. Called by `make gpu-bundle`; needs NVRTC (`make nvrtc`) but no GPU.
set -euo pipefail

most_megabytes=60
maskcast=$(realpath "$1") bundle=$2
cd "$(dirname "$0")/../.."
rm -rf "$bundle"
mkdir -p "$bundle/engines"
bundle=$(cd "$bundle" && pwd)
cp "$maskcast" "$bundle/maskcast"
"$maskcast" engine cubins --out "$bundle/cubins"
# The cameras' engine with its weights. The large network's recipe alone: its weights are made where it runs.
cp engines/conveyor.toml engines/conveyor.safetensors engines/conveyor.self-test.json engines/coco-resnet50.toml "$bundle/engines/"
cp tests/data/kernel_hashes.json tests/gpu/run.sh tests/gpu/README.md "$bundle/"
cp tests/bench/gpu_baselines.py tests/bench/gpu_floor.py tests/bench/ops_rivals.py "$bundle/"
megabytes=$(du --summarize --block-size=1000000 --apparent-size "$bundle" | cut -f1)
echo "$bundle: $megabytes MB of $most_megabytes"
if [ "$megabytes" -gt "$most_megabytes" ]; then
    du --block-size=1000000 --apparent-size --all "$bundle" | sort -rn | head -8
    echo "error: the bundle has $megabytes MB, it may have $most_megabytes" >&2
    exit 1
fi
