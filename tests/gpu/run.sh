#!/usr/bin/env bash
# run.sh RESULT_DIR [STEP...]: one run on a GPU machine, under nine minutes, with one table at its end. Lies in the folder that
# `make gpu-bundle` made and runs from anywhere; see README.md beside it. Steps: info kernels network ops cameras torch layers
# sanitizer table (all, in this order). Nothing on the card is changed: no clocks, no modes.
# A step that fails or is cut short leaves what it has; the table says `not yet measured` for the rest.
set -uo pipefail

here=$(cd "$(dirname "$0")" && pwd)
[ $# -ge 1 ] || { sed -n '2,5s/^# //p' "$0"; exit 2; }
mkdir -p "$1" && out=$(cd "$1" && pwd) || exit 1
shift
cd "$here" || exit 1
steps=${*:-info kernels network ops cameras torch layers sanitizer table}
maskcast=${MASKCAST:-$here/maskcast}
python=${PYTHON:-python3}
extra=${GPU_CHECK_ARGS:-}     # for the dry run: smaller sizes
end=$((SECONDS + 520))

export MASKCAST_CUBINS=${MASKCAST_CUBINS:-$here/cubins}
export XDG_CACHE_HOME=$out/cache      # plans are this run's own
# cuDNN and the CUDA libraries: those that PyTorch brought, where nothing else is named.
packages=$("$python" -c 'import os, torch; print(os.path.dirname(os.path.dirname(torch.__file__)))' 2>/dev/null)
if [ -n "$packages" ]; then
    [ -n "${MASKCAST_CUDNN_DIR:-}" ] || [ ! -d "$packages/nvidia/cudnn/lib" ] || export MASKCAST_CUDNN_DIR=$packages/nvidia/cudnn/lib
    export LD_LIBRARY_PATH=$packages/nvidia/cu13/lib:$packages/nvidia/cudnn/lib:${LD_LIBRARY_PATH:-}
fi

want() { case " $steps " in *" $1 "*) echo "== $1"; return 0 ;; *) return 1 ;; esac; }

# limited SECONDS COMMAND...: at most so long, and never beyond the end of the whole run.
limited() {
    local limit=$1 left=$((end - SECONDS)) began=$SECONDS status
    shift
    [ "$left" -gt 3 ] || { echo "   no time left"; return 1; }
    timeout --kill-after=5 "$((limit < left ? limit : left))" "$@"
    status=$?
    [ "$status" -ne 124 ] || echo "   cut short after $((SECONDS - began)) s"
    echo "   $((SECONDS - began)) s"
    return "$status"
}

# check SECONDS STEP: a step of ours. `extra` is a list of words.
# shellcheck disable=SC2086
check() {
    limited "$1" "$maskcast" gpu-check --only "$2" --out "$out" --hashes "$here/kernel_hashes.json" \
        --engine "$here/engines/conveyor.toml" --network "$here/engines/coco-resnet50.toml" $extra 2>&1 | tee "$out/$2.txt"
}

# sanitize TOOL SUMMARY: compute-sanitizer over the kernels' checks; its count goes into sanitizer.json.
sanitize() {
    local tool=$1 count note=
    if ! command -v compute-sanitizer >/dev/null; then
        count=null note="not run: no compute-sanitizer here"
    else
        limited 60 compute-sanitizer --tool "$tool" --error-exitcode 99 \
            "$maskcast" gpu-check --only kernels --out "$out/$tool" --hashes "$here/kernel_hashes.json" >"$out/$tool.txt" 2>&1
        # ERROR SUMMARY: 0 errors | RACECHECK SUMMARY: 0 hazards displayed (...)
        count=$(grep -oE '(ERROR|RACECHECK) SUMMARY: [0-9]+' "$out/$tool.txt" | grep -oE '[0-9]+$' | tail -1)
        [ -n "$count" ] || { count=null; note="no summary: see $tool.txt"; }
    fi
    echo "   $tool: $count $note" >&2
    printf '{"name": "%s", "unit": "", "value": %s, "note": "%s"}' "$tool" "$count" "$note"
}

if want info; then
    {
        nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.sm,clocks.mem,power.limit --format=csv 2>&1
        { ldconfig -p; for folder in ${LD_LIBRARY_PATH:-}; do ls "${folder//:/ }"; done; } 2>/dev/null |
            grep -oE '(libnvcuvid|libnvidia-encode|libcuda|libnvjpeg|libcudnn|libnvrtc)\.so[.0-9]*' | sort -u
        "$maskcast" doctor
    } | tee "$out/info.txt"
fi
want kernels && check 60 kernels
# TUNE=N: of each layer N configurations are timed, which takes longer; the plans stay in the results for the next run there.
more=$(((${TUNE:-1} - 1) * 100))
[ "$more" -le 0 ] || extra="$extra --tune $TUNE" end=$((end + more))
want network && check "$((110 + more))" network
want ops && check 40 ops
want cameras && check 60 cameras
if want torch; then
    limited 170 env PYTHONUNBUFFERED=1 "$python" "$here/gpu_baselines.py" "$out" ${TORCH_ARGS:-} 2>&1 | tee "$out/torch.txt" | tail -30
fi
want layers && check 100 layers
if want sanitizer; then
    printf '{"step": "sanitizer", "machine": "", "rows": [%s, %s]}\n' "$(sanitize memcheck)" "$(sanitize racecheck)" >"$out/sanitizer.json"
fi
status=0
if want table; then
    # The last words, whatever became of the rest.
    "$maskcast" gpu-check --only table --out "$out" >"$out/table.txt" 2>/dev/null
    status=$?
    echo "== $SECONDS s in all"
    cat "$out/table.txt"
fi
exit "$status"
