#!/usr/bin/env bash
# fetch-nvrtc.sh VERSION DIR: puts NVIDIA's kernel compiler library, taken from its PyPI wheel, into DIR.
# Nothing is installed into the system's Python.
set -euo pipefail
version=$1 dir=$2

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo "fetching NVRTC $version (its PyPI wheel, about 90 MB) into $dir"
for attempt in 1 2 3; do
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
    --dest "$work" "nvidia-cuda-nvrtc==$version" && break
  ((attempt < 3)) || exit 1
  sleep $((attempt * 5))
done
python3 - "$work" "$dir" <<'PY'
import pathlib, sys, zipfile
work, folder = map(pathlib.Path, sys.argv[1:])
folder.mkdir(parents=True, exist_ok=True)
with zipfile.ZipFile(next(work.glob("nvidia_cuda_nvrtc-*.whl"))) as archive:
    for name in archive.namelist():
        file = name.rsplit("/", 1)[-1]
        # The .alt. builds are for other allocators; the licence goes with the library.
        if ("/lib/libnvrtc" in name and ".alt." not in file) or file.startswith("License"):
            (folder / (file + ".part")).write_bytes(archive.read(name))
            (folder / (file + ".part")).rename(folder / file)
PY
[[ -f $dir/libnvrtc.so.13 ]] || { echo "the wheel held no libnvrtc.so.13" >&2; exit 1; }
touch "$dir/ready"
echo "NVRTC is in $dir"
