#!/usr/bin/env bash
# train.sh MODEL DEVICE TARGET_DIR: makes a bundled model anew: simulated data, training, export. Called by `make train`.
# Everything lands in TARGET_DIR/training; run it again after an interruption and it goes on from the last checkpoint.
set -euo pipefail

model=$1 device=$2 target=$(realpath "$3")
here=$(cd "$(dirname "$0")" && pwd)
work=$target/training/$model
minutes=${MINUTES:-64}

if [ "$model" != conveyor ]; then
    echo "train.sh: no recipe for '$model'; there is one for: conveyor" >&2
    exit 2
fi

venv=$target/training/venv
if [ ! -e "$venv/ready" ]; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet -r "$here/requirements.txt"
    touch "$venv/ready"
fi

# Seeds far from each other and from the ones that `maskcast demo` and the tests use.
[ -e "$work/train/annotations.json" ] ||
    "$target/release/maskcast" synth --seed 1000000 --count 12000 --size 480x360 --out "$work/train"
[ -e "$work/val/annotations.json" ] ||
    "$target/release/maskcast" synth --seed 500000000 --count 500 --size 640x480 --out "$work/val"

PYTHONPATH=$here OMP_WAIT_POLICY=passive nice -n 10 "$venv/bin/python" -m maskcast_training \
    --coco "$work/train/annotations.json" --images "$work/train/images" \
    --val-coco "$work/val/annotations.json" --val-images "$work/val/images" \
    --arch resnet18c256-fpn64 --input 384x288 --anchors 24,40,64,100,160 \
    --device "$device" --minutes "$minutes" --seed 1 --resume --out "$work/run"

echo "weights: $work/run/final.safetensors; facts and AP: $work/run/final.json"
echo "to bundle them: copy over engines/$model.safetensors and put its sha256sum into engines/$model.toml"
