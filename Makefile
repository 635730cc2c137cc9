# maskcast: `make demo` shows the whole way, `make test` proves it. Both install what is missing and say what.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

TARGET_DIR ?= $(or $(CARGO_TARGET_DIR),target)
OPENVINO_VERSION := 2026.4
export MASKCAST_OPENVINO_DIR ?= $(abspath $(TARGET_DIR))/openvino
export MASKCAST_DATA ?= $(abspath ../shared/data)
NVRTC_VERSION := 13.0.88
SECONDS_OF_DEMO ?= 20

.PHONY: help demo test lint deps openvino nvrtc cuda-standin cudnn-standin barriers sanitize oracle build bench bench-cpu parity training-parity train gallery

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | column -t -s "$$(printf '\t')"

demo: build ## simulated camera -> masks on zenoh -> annotated video, judged against the truth (about 20 s)
	$(TARGET_DIR)/release/maskcast demo --seconds $(SECONDS_OF_DEMO)

test: deps openvino nvrtc cuda-standin cudnn-standin oracle ## every test that needs no GPU
	cargo test --locked
	cargo check --locked --quiet --no-default-features --lib
	cargo check --locked --quiet --no-default-features --features pipeline
	@test -d "$(MASKCAST_DATA)" || echo "not run: real footage and the published COCO results: no data at $(MASKCAST_DATA)"

lint: deps ## formatting and clippy, of the whole, of its parts alone and of the stand-in driver
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked --no-default-features --lib -- -D warnings
	cd tests/cuda_standin && cargo fmt --check && cargo clippy --locked --target-dir "$(STANDIN)" -- -D warnings
	cargo clippy --locked --no-default-features --features pipeline -- -D warnings

build: deps openvino ## the release program
	cargo build --release --locked

deps: ## Debian packages (asks for sudo only when one is missing)
	@launch/install-packages.sh

openvino: $(MASKCAST_OPENVINO_DIR)/libopenvino_c.so ## the CPU executor's library, from its PyPI wheel

$(MASKCAST_OPENVINO_DIR)/libopenvino_c.so:
	launch/fetch-openvino.sh "$(OPENVINO_VERSION)" "$(MASKCAST_OPENVINO_DIR)"

NVRTC := $(abspath $(TARGET_DIR))/nvrtc
nvrtc: $(NVRTC)/ready ## the compiler of the CUDA kernels, from its PyPI wheel; needs no GPU

$(NVRTC)/ready:
	launch/fetch-nvrtc.sh "$(NVRTC_VERSION)" "$(NVRTC)"

# A libcuda.so.1 that runs the kernels of this tree on the host; tests load it where a GPU machine has the driver.
STANDIN := $(abspath $(TARGET_DIR))/cuda-standin
cuda-standin: ## the driver of the tests: the CUDA kernels compiled for the host
	cd tests/cuda_standin && cargo build --locked --release --target-dir "$(STANDIN)"
	mkdir -p "$(STANDIN)/lib"
	cc -shared -fPIC -O1 -Wl,-soname,libnvcuvid.so.1 -o "$(STANDIN)/lib/libnvcuvid.so.1" tests/cuda_standin/nvcuvid.c
	cp "$(STANDIN)/release/libcuda.so" "$(STANDIN)/lib/libcuda.so.1.part"
	mv "$(STANDIN)/lib/libcuda.so.1.part" "$(STANDIN)/lib/libcuda.so.1"

# A libcudnn.so.9 that checks and runs on the host what the cuDNN executor asks for.
CUDNN_STANDIN := $(abspath $(TARGET_DIR))/cudnn-standin
cudnn-standin: ## the cuDNN of the tests
	cd tests/cudnn_standin && cargo build --locked --release --target-dir "$(CUDNN_STANDIN)"
	mkdir -p "$(CUDNN_STANDIN)/lib"
	cp "$(CUDNN_STANDIN)/release/libcudnn.so" "$(CUDNN_STANDIN)/lib/libcudnn.so.9.part"
	mv "$(CUDNN_STANDIN)/lib/libcudnn.so.9.part" "$(CUDNN_STANDIN)/lib/libcudnn.so.9"

test: export MASKCAST_CUDNN_DIR := $(CUDNN_STANDIN)/lib

barriers: nvrtc cuda-standin openvino ## shows for each barrier of the CUDA kernels that a check fails without it
	MASKCAST_CUDA_STANDIN="$(STANDIN)/lib" MASKCAST_NVRTC_DIR="$(NVRTC)" \
	  cargo test --locked --test device -- --ignored --nocapture barriers::

# Link-time code of the compiler's sanitizer must be in the process before ours: LD_PRELOAD. Leaks are looked at elsewhere:
# libraries of the system keep what they have until the end.
sanitize: nvrtc openvino ## the CUDA kernels under AddressSanitizer: a store out of bounds is named with its .cu line
	cd tests/cuda_standin && CUDA_STANDIN_CXXFLAGS=-fsanitize=address \
	  cargo build --locked --release --target-dir "$(STANDIN)-sanitized"
	mkdir -p "$(STANDIN)-sanitized/lib"
	cp "$(STANDIN)-sanitized/release/libcuda.so" "$(STANDIN)-sanitized/lib/libcuda.so.1"
	cargo test --locked --test device --no-run
	cargo test --locked --test device --no-run --message-format=json 2>/dev/null \
	  | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | grep /device- > "$(STANDIN)-sanitized/tests"
	MASKCAST_SANITIZED=1 MASKCAST_CUDA_STANDIN="$(STANDIN)-sanitized/lib" MASKCAST_NVRTC_DIR="$(NVRTC)" \
	  LD_PRELOAD="$$(cc -print-file-name=libasan.so)" ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=0 \
	  "$$(cat "$(STANDIN)-sanitized/tests")" --skip gst_cuda --skip cudnn --skip network --skip resources

test: export MASKCAST_CUDA_STANDIN ?= $(STANDIN)/lib
test: export MASKCAST_NVRTC_DIR ?= $(NVRTC)

# The Python packages of tests/oracle/zenoh_peer.py, beside the build: nothing is installed into the system's Python.
ORACLE := $(abspath $(TARGET_DIR))/oracle
oracle: $(ORACLE)/ready ## the independent subscriber of the tests

$(ORACLE)/ready:
	python3 -m pip install --quiet --disable-pip-version-check --target "$(ORACLE)" -r tests/oracle/peer-requirements.txt
	touch "$@"

test: export MASKCAST_ORACLE_PYTHON ?= python3
test: export PYTHONPATH := $(ORACLE)

PARITY_PYTHON ?= python3
parity: build ## boxes, scores and masks against torchvision's on real-sized checkpoints (PARITY_PYTHON has torch; an hour)
	$(PARITY_PYTHON) tests/oracle/parity.py --maskcast $(TARGET_DIR)/release/maskcast

training-parity: build ## AP of the bundled engine in Python and here; RECORD=--record after its weights were replaced
	$(PARITY_PYTHON) tests/oracle/training_parity.py --maskcast $(TARGET_DIR)/release/maskcast $(RECORD)

bench: build ## the figures of BENCHMARKS.md on this machine
	$(TARGET_DIR)/release/maskcast demo --seconds 60
	cargo test --locked --release -- --ignored --nocapture bench_

bench-cpu: build ## ours against torchvision, ONNX Runtime and OpenVINO on two threads; PARITY_PYTHON needs their packages
	$(PARITY_PYTHON) -W ignore tests/bench/cpu_rivals.py $(TARGET_DIR)/release/maskcast --work "$(TARGET_DIR)/bench-cpu"
	$(PARITY_PYTHON) tests/bench/ops_rivals.py $(TARGET_DIR)/release/maskcast engine time-ops

MODEL ?= conveyor
DEVICE ?= cpu
MINUTES ?=
train: build ## make train MODEL=conveyor|nuclei|object [DEVICE=cuda] [MINUTES=n]: data, training, export (Python venv in target/)
	engines/training/train.sh "$(MODEL)" "$(DEVICE)" "$(TARGET_DIR)" $(MINUTES)

GALLERY := $(abspath $(TARGET_DIR))/gallery
gallery: build ## twelve annotated pictures, the best and the worst of the conveyor and the nuclei engine, in target/gallery
	launch/gallery.sh "$(TARGET_DIR)/release/maskcast" "$(GALLERY)"

# What is carried to a GPU machine: one program without GStreamer, machine code of the kernels, small weights, scripts.
BUNDLE := $(abspath $(TARGET_DIR))/gpu-bundle
RESULTS ?= $(abspath $(TARGET_DIR))/gpu-results
.PHONY: gpu-bundle gpu-check gpu-check-dry
gpu-bundle: nvrtc ## target/gpu-bundle: all that `run.sh` in it needs on a GPU machine, at most 60 MB
	cargo build --locked --profile bundle --no-default-features --features pipeline
	MASKCAST_NVRTC_DIR="$(NVRTC)" tests/gpu/bundle.sh "$(TARGET_DIR)/bundle/maskcast" "$(BUNDLE)"

$(BUNDLE)/run.sh:
	$(MAKE) gpu-bundle

gpu-check: $(BUNDLE)/run.sh ## on a GPU machine: kernels bit for bit, times against torchvision's, one table (9 minutes)
	"$(BUNDLE)/run.sh" "$(RESULTS)"

gpu-check-dry: cuda-standin cudnn-standin $(BUNDLE)/run.sh ## the same run on the driver of the tests, without timings
	tests/gpu/dry_run.sh "$(BUNDLE)" "$(STANDIN)/lib" "$(CUDNN_STANDIN)/lib" "$(RESULTS)-dry"
