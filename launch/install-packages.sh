#!/usr/bin/env bash
# Installs the Debian or Ubuntu packages that building, running and testing need. Does nothing when all are there.
set -euo pipefail

packages=(
  build-essential pkg-config python3 python3-pip
  libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev          # headers to build against
  gstreamer1.0-plugins-base gstreamer1.0-plugins-good            # containers, RTSP, V4L2, JPEG, Matroska
  gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly             # H.264 parser, hardware encoders; x264
  gstreamer1.0-libav                                             # every other codec
  libgstrtspserver-1.0-dev                                       # the RTSP server of the tests
)

if ! command -v cargo >/dev/null; then
  echo "Rust is missing: install it with rustup (https://rustup.rs), version 1.95 or newer" >&2
  exit 1
fi
if ! command -v dpkg-query >/dev/null; then
  echo "not a Debian or Ubuntu system: install the counterparts of: ${packages[*]}" >&2
  exit 0
fi

missing=()
for package in "${packages[@]}"; do
  state=$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null || true)
  [[ $state == "install ok installed" ]] || missing+=("$package")
done
# A pip that works is as good as the package of that name.
if python3 -m pip --version >/dev/null 2>&1; then
  kept=()
  for package in "${missing[@]}"; do
    [[ $package == python3 || $package == python3-pip ]] || kept+=("$package")
  done
  missing=("${kept[@]}")
fi
((${#missing[@]})) || exit 0

echo "installing: ${missing[*]}"
sudo=()
if ((EUID != 0)); then
  command -v sudo >/dev/null || { echo "run as root: apt-get install ${missing[*]}" >&2; exit 1; }
  sudo=(sudo)
fi
export DEBIAN_FRONTEND=noninteractive
"${sudo[@]}" apt-get update -q
"${sudo[@]}" apt-get install -y -q --no-install-recommends "${missing[@]}"
