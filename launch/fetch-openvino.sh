#!/usr/bin/env bash
# fetch-openvino.sh VERSION DIR: puts OpenVINO's shared libraries, taken from its PyPI wheel, into DIR.
# Nothing is installed into the system's Python.
set -euo pipefail
version=$1 dir=$2

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo "fetching OpenVINO $version (its PyPI wheel, about 50 MB) into $dir"
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
  --dest "$work" "openvino==$version.*"
python3 - "$work" <<'PY'
import pathlib, sys, zipfile
work = pathlib.Path(sys.argv[1])
wheel = next(work.glob("openvino-*.whl"))
with zipfile.ZipFile(wheel) as archive:
    names = [n for n in archive.namelist() if n.startswith("openvino/libs/") or "/licenses/" in n]
    archive.extractall(work, names)
PY
mkdir -p "$dir"
cp -a "$work"/openvino/libs/. "$dir"/
# The wheel ships the C library under a versioned name only.
c_library=$(cd "$dir" && ls libopenvino_c.so.* | head -n 1)
ln -sf "$c_library" "$dir/libopenvino_c.so"
echo "OpenVINO is in $dir"
