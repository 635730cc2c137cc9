#!/usr/bin/env bash
# dry_run.sh BUNDLE STANDIN_LIB CUDNN_STANDIN_LIB RESULTS: run.sh of the bundle on the driver and the cuDNN of the tests. Every step
# must leave a whole record in which nothing failed, and no record may hold a time. Called by `make gpu-check-dry`.
set -euo pipefail

bundle=$1 standin=$2 cudnn=$3 results=$4
rm -rf "$results"
LD_LIBRARY_PATH=$standin:${LD_LIBRARY_PATH:-} MASKCAST_CUDNN_DIR=$cudnn GPU_CHECK_ARGS="--rounds 2 --seconds 0.2 --cameras 1" \
    "$bundle/run.sh" "$results" kernels network ops cameras layers sanitizer table
python3 - "$results" <<'PYTHON'
import json
import re
import sys
from pathlib import Path

results = Path(sys.argv[1])
for step in ("kernels", "network", "ops", "cameras", "layers", "sanitizer"):
    record = json.loads((results / f"{step}.json").read_text())
    assert record["rows"], f"{step}: no rows"
    if step != "kernels":
        timed = [row["name"] for row in record["rows"] if row["value"] is not None]
        assert not timed, f"{step}: measured on the stand-in: {timed}"
        fine = r"stand-in: no timings|\d+ of \d+ layers|not run: no compute-sanitizer here"
        failed = [(row["name"], row["note"]) for row in record["rows"] if not re.fullmatch(fine, row["note"])]
        assert not failed, f"{step}: {failed}"
kernels = json.loads((results / "kernels.json").read_text())
assert kernels["stand_in"] is True
assert all(row["note"] == "equal" for row in kernels["rows"])
table = json.loads((results / "table.json").read_text())
assert {line["verdict"] for line in table} == {"met", "not_yet_measured"}, table
assert "stand-in: no timings" in (results / "table.txt").read_text()
print(f"dry run: {len(kernels['rows'])} checks equal, nothing timed")
PYTHON
