#!/usr/bin/env bash
# train.sh MODEL DEVICE TARGET_DIR [MINUTES]: makes a bundled model anew: data, training, export. Called by `make train`.
# Everything lands in TARGET_DIR/training; run it again after an interruption and it goes on from the last checkpoint.
set -euo pipefail

model=$1 device=$2 target=$(realpath "$3") minutes=${4:-}
here=$(cd "$(dirname "$0")" && pwd)
work=$target/training/$model
bundled=$here/../conveyor.safetensors
maskcast=$target/release/maskcast

# synth FOLDER ARGUMENTS: a set of the simulated camera, whole or not at all.
synth() {
    local folder=$work/$1
    [ -e "$folder/annotations.json" ] && return
    rm -rf "$folder.part" && "$maskcast" synth "${@:2}" --out "$folder.part" && rm -rf "$folder" && mv "$folder.part" "$folder"
}

# stage NAME MINUTES DATA ARGUMENTS: one run of the trainer on the set DATA, judged on val. One that has ended is not run again.
stage() {
    local out=$work/$1 minutes=$2 data=()
    [ -e "$out/$1.toml" ] && return
    [ -z "$3" ] || data=(--coco "$work/$3/annotations.json" --images "$work/$3/images"
        --val-coco "$work/val/annotations.json" --val-images "$work/val/images")
    PYTHONPATH=$here OMP_WAIT_POLICY=passive nice -n 10 "$python" -m maskcast_training \
        --out "$out" --minutes "$minutes" --device "$device" --licence Apache-2.0 --resume "${data[@]}" "${@:4}"
}

# part DEFAULT SHARE_OF_WHOLE: minutes of a stage; MINUTES are shared out as the defaults are.
part() { awk -v whole="$minutes" -v usual="$1" -v all="$2" 'BEGIN { print whole == "" ? usual : whole * usual / all }'; }

case $model in
conveyor | object) ;;
nuclei)
    photographs=${MASKCAST_DATA:-}/nuclei
    if [ ! -d "$photographs/images" ] || [ ! -d "$photographs/labels" ]; then
        echo "train.sh: MODEL=nuclei needs the nuclei photographs in $photographs (images/ and labels/); set MASKCAST_DATA" >&2
        exit 2
    fi
    ;;
*)
    echo "train.sh: no recipe for '$model'; there are: conveyor, nuclei, object" >&2
    exit 2
    ;;
esac

python=${TRAINING_PYTHON:-$target/training/venv/bin/python}
if [ -z "${TRAINING_PYTHON:-}" ] && [ ! -e "$target/training/venv/ready" ]; then
    python3 -m venv "$target/training/venv" || {
        echo "train.sh: Python cannot make a virtual environment here; on Debian: apt install python3-venv" >&2
        exit 1
    }
    "$python" -m pip install --quiet -r "$here/requirements.txt"
    touch "$target/training/venv/ready"
fi

# Seeds far from each other and from the ones that `maskcast demo` and the tests use.
case $model in
conveyor)
    synth coarse --seed 1000000 --count 12000 --size 480x360
    synth fine --seed 10000000 --count 8000 --size 640x480
    synth val --seed 500000000 --count 500 --size 640x480
    # Small pictures, which are fast, teach most of it; the deployed size comes after.
    stage coarse-to-fine "$(part 64 112)" coarse --init none --seed 1 \
        --arch resnet18c256-fpn64 --input 384x288 --anchors 24,40,64,100,160
    stage conveyor "$(part 48 112)" fine --init "$work/coarse-to-fine/coarse-to-fine.safetensors" --seed 2 \
        --arch resnet18c256-fpn64 --input 640x480 --anchors 28,48,80,128,200 --warmup 60 \
        --coarse 320x256 --fine 480x384 --fine-from 0.78 --coarse-scales 0.7,1.15 --fine-scales 0.8,1.15
    ;;
nuclei)
    mkdir -p "$work"
    "$maskcast" coco --labels "$photographs/labels" --class nucleus --except "$here/nuclei_validation.txt" --out "$work/train.json"
    "$maskcast" coco --labels "$photographs/labels" --class nucleus --only "$here/nuclei_validation.txt" --out "$work/val.json"
    stage nuclei "$(part 42 42)" "" --init "$bundled" --seed 3 \
        --coco "$work/train.json" --images "$photographs/images" --val-coco "$work/val.json" --val-images "$photographs/images" \
        --arch resnet18c256-fpn64 --input 512x512 --tile 512 --anchors 14,26,44,72,120 --warmup 100 \
        --coarse 256x256 --fine 320x320 --coarse-scales 0.65,1.35 --fine-scales 0.8,1.25 \
        --flips 0.5,0.5 --turns 0.5 --invert 0.3 --hue 0.3 --detections 400 --proposals 1000,800 \
        --anchor-count 256 --pre-nms 400 --post-nms 300 --box-rois 96 --positive-rois 40 --mask-rois 24
    ;;
object)
    synth all --scene tabletop --seed 20000000 --count 6000 --size 640x480
    synth more --scene tabletop --seed 30000000 --count 2400 --size 640x480
    synth val --scene tabletop --seed 520000000 --count 200 --size 640x480
    stage first "$(part 34 43)" all --init "$bundled" --seed 4 \
        --arch resnet18c256-fpn64 --input 640x480 --anchors 27,46,78,132,225 --warmup 60 --hue 0.5 \
        --coarse 320x256 --fine 480x384 --coarse-scales 0.45,1.1 --fine-scales 0.6,1.15
    stage object "$(part 9 43)" more --init "$work/first/first.safetensors" --seed 5 --lr 7e-4 \
        --arch resnet18c256-fpn64 --input 640x480 --anchors 27,46,78,132,225 --warmup 30 --hue 0.5 \
        --coarse 320x256 --fine 480x384 --fine-from 0.7 --coarse-scales 0.45,1.1 --fine-scales 0.6,1.15
    ;;
esac

out=$work/$model/$model
echo "engine: $out.toml, curves: $work/$model/curve.png"
echo "to bundle it: see engines/training/README.md"
