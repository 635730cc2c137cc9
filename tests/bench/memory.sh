#!/usr/bin/env bash
# memory.sh [SECONDS]: runs the demo's pipeline and prints its resident memory every 10 s, then the drift in MB between the
# first and the last minute. Long runs must stay flat: run it for 600 s.
set -euo pipefail
seconds=${1:-600}
program=${MASKCAST:-target/release/maskcast}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
sed "s#dir = \"recordings\"#dir = \"$dir\"#" launch/demo.toml > "$dir/launch.toml"

"$program" run "$dir/launch.toml" --seconds "$seconds" 2> "$dir/log" &
process=$!
sleep 10
: > "$dir/samples"
start=$SECONDS
while kill -0 "$process" 2>/dev/null && ((SECONDS - start < seconds - 15)); do
  awk '/VmRSS/ {print $2}' "/proc/$process/status" | tee -a "$dir/samples" | awk -v t=$((SECONDS - start + 10)) '{printf "%4d s  %.1f MB\n", t, $1 / 1024}'
  sleep 10
done
wait "$process" || true
cat "$dir/log"
awk '{a[NR] = $1} END {n = NR < 12 ? int(NR / 2) : 6; for (i = 1; i <= n; i++) {f += a[i]; l += a[NR - i + 1]}
     printf "resident memory: first minute %.1f MB, last minute %.1f MB, drift %+.1f MB\n", f / n / 1024, l / n / 1024, (l - f) / n / 1024}' "$dir/samples"
