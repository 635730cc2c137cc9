#!/usr/bin/env bash
# gallery.sh MASKCAST OUT: of the conveyor and the nuclei engine, the three best and three worst of some pictures they were never
# trained on, found beside truth, with a page of them. Without the nuclei photographs, six instead of twelve. Called by `make gallery`.
set -euo pipefail

maskcast=$(realpath "$1") out=$(realpath -m "$2")
cd "$(dirname "$0")/.."
data=${MASKCAST_DATA:-../shared/data}

[ -e "$out/data/annotations.json" ] || "$maskcast" synth --seed 710000000 --count 200 --out "$out/data"
"$maskcast" eval --engine engines/conveyor.toml --coco "$out/data/annotations.json" --images "$out/data/images" \
    --pictures "$out/conveyor"

if [ -d "$data/nuclei" ]; then
    "$maskcast" coco --labels "$data/nuclei/labels" --class nucleus \
        --only engines/training/nuclei_validation.txt --out "$out/nuclei.json"
    "$maskcast" eval --engine engines/nuclei.toml --coco "$out/nuclei.json" --images "$data/nuclei/images" \
        --tile 512 --overlap 64 --max-detections 400 --pictures "$out/nuclei"
else
    echo "not run: the nuclei pictures: no data at $data/nuclei" >&2
fi
