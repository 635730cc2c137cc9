"""torchvision's Mask R-CNN R50-FPN on this machine's GPU: what ours is compared with, in the same run.

    python tests/bench/gpu_baselines.py OUT_DIR [--smoke]      needs torch, torchvision and a GPU

Writes OUT_DIR/torch.json after each row, in the form of `maskcast gpu-check`, most important rows first: a run cut short
keeps what it has. Weights are random and the score threshold is 0, so that every stage has all its work (1000 proposals, 100
detections) and nothing is downloaded. Networks: wall time with the host, from a prepared tensor to boxes, labels, scores and
28x28 masks. Ops: device time. --smoke: tiny, on the CPU, to try the script itself: 1 when a row failed; nothing it writes is
a measurement.
"""
import contextlib
import json
import os
import sys
import time
from pathlib import Path

import torch
import torchvision
from torchvision.models.detection import maskrcnn_resnet50_fpn
from torchvision.models.detection.image_list import ImageList

from gpu_floor import floor_ms
from ops_rivals import boxes, noise

SMOKE = "--smoke" in sys.argv
SMOKE_NOTE = "smoke run: no timings"
DEVICE = torch.device("cpu" if SMOKE else "cuda")
# The picture, and what it is padded to: width, height
PICTURE, PADDED = ((128, 96), (128, 96)) if SMOKE else ((1333, 800), (1344, 800))
BATCHES = (1,) if SMOKE else (1, 8)
ROUNDS, WARM_UP = (2, 1) if SMOKE else (60, 10)
# Sets of buffers that take turns: more than an L2 cache holds
TURNS = 1 if SMOKE else 5


class Record:
    def __init__(self, folder):
        self.path = Path(folder) / "torch.json"
        name = "CPU" if SMOKE else torch.cuda.get_device_name()
        versions = f"torch {torch.__version__}, torchvision {torchvision.__version__}, cuDNN {torch.backends.cudnn.version()}"
        self.whole = {"step": "torch", "machine": f"{name}, {versions}", "stand_in": SMOKE, "rows": []}
        self.measured = {}
        self.write()

    def add(self, name, unit, value, note="", **more):
        self.measured[name] = value
        if SMOKE and value is not None:
            value, note, more = None, SMOKE_NOTE, {}
        self.whole["rows"].append({"name": name, "unit": unit, "value": value, "note": note, **more})
        shown = "not yet measured" if value is None else f"{value:.4f} {unit}"
        print(f"  {name:<44} {shown}  {note}", flush=True)
        self.write()

    def write(self):
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps(self.whole, indent=1))
        os.replace(part, self.path)  # a whole file, whenever the run is cut short

    def value(self, name):
        return self.measured.get(name)


def synchronize():
    if not SMOKE:
        torch.cuda.synchronize()


def spread(values):
    values = sorted(values)
    at = lambda share: values[round(share * (len(values) - 1))]
    return at(0.5), {"p10": at(0.1), "p90": at(0.9), "rounds": len(values)}


def wall_ms(run, rounds=ROUNDS):
    for _ in range(WARM_UP):
        run()
    synchronize()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        synchronize()
        times.append(1e3 * (time.perf_counter() - start))
    return spread(times)


def device_ms(turns, graph=True):
    """Of one of `turns`, which are captured as one CUDA graph; those that wait for the host cannot be."""
    if SMOKE:
        return wall_ms(lambda: [turn() for turn in turns])
    run = lambda: [turn() for turn in turns]
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        for _ in range(3):
            run()
    torch.cuda.synchronize()
    if graph:
        captured = torch.cuda.CUDAGraph()
        with torch.cuda.graph(captured):
            kept = run()  # noqa: F841: the graph writes to it
        run = captured.replay
    for _ in range(WARM_UP):
        run()
    times = []
    for _ in range(ROUNDS):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        end.record()
        end.synchronize()
        times.append(start.elapsed_time(end) / len(turns))
    return spread(times)


def row(record, name, unit, measure, note="", convert=lambda ms: ms):
    """A row, or why there is none: one failure must not take the others with it."""
    try:
        with torch.inference_mode():
            value, more = measure()
        record.add(name, unit, convert(value), note, **(more if unit == "ms" else {"rounds": more["rounds"]}))
    except Exception as error:  # whatever a library of another version may throw
        record.add(name, unit, None, f"{type(error).__name__}: {str(error)[:200]}")


def ceilings(record):
    side, count = (64, 1 << 10) if SMOKE else (8192, 1 << 31)
    a = torch.empty(count, dtype=torch.uint8, device=DEVICE).random_(0, 255)
    b = torch.empty_like(a)
    row(record, "copy", "TB/s", lambda: device_ms([lambda: b.copy_(a)]), convert=lambda ms: 2 * count / ms * 1e-9)
    del a, b
    x, y = (torch.randn(side, side, device=DEVICE, dtype=torch.float16) for _ in range(2))
    out = torch.empty_like(x)
    row(record, "matmul 8192, fp16", "TFLOP/s", lambda: device_ms([lambda: torch.mm(x, y, out=out)]), convert=lambda ms: 2 * side**3 / ms * 1e-9)
    copy, matmul = record.value("copy"), record.value("matmul 8192, fp16")
    for batch in BATCHES:
        known = copy and matmul
        value = floor_ms(batch, matmul * 1e12, copy * 1e12) if known else None
        record.add(f"roofline, batch {batch}", "ms", value, "computed from copy and matmul" if known else "no ceilings")


class Net(torch.nn.Module):
    """A prepared tensor to detections: torchvision's network without its transform and paste."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        features = self.model.backbone(images.tensors)
        proposals, _ = self.model.rpn(images, features)
        return self.model.roi_heads(features, proposals, images.image_sizes)[0]


def model():
    torch.manual_seed(0)
    whole = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, box_score_thresh=0.0, box_detections_per_img=100)
    return whole.eval().to(DEVICE).to(memory_format=torch.channels_last)


def prepared(batch):
    width, height = PADDED
    values = torch.rand(batch, 3, height, width, device=DEVICE) * 4 - 2
    return ImageList(values.to(memory_format=torch.channels_last), [PICTURE[::-1]] * batch)


def amp():
    return torch.autocast(DEVICE.type, dtype=torch.bfloat16 if SMOKE else torch.float16)


def eager(record):
    net = Net(model())
    for batch in BATCHES:
        images = prepared(batch)

        def run():
            with amp():
                return net(images)

        row(record, f"eager AMP, batch {batch}", "ms", lambda: wall_ms(run), "channels last, score threshold 0")


def roi_aligns(record):
    dtype = torch.float32 if SMOKE else torch.float16
    strides = (4, 8, 16, 32)
    grids = [(-(-PADDED[1] // s), -(-PADDED[0] // s)) for s in strides]
    for side, count in ((7, 1000), (14, 100)):
        rois = boxes(count, PADDED, 3).to(DEVICE)
        area = (rois[:, 2] - rois[:, 0]) * (rois[:, 3] - rois[:, 1])
        level = (4 + torch.log2(area.sqrt() / 224 + 1e-6)).floor().clamp(2, 5) - 2
        split = [torch.cat([torch.zeros(len(of), 1, device=DEVICE), of], 1).to(dtype) for of in (rois[level == i] for i in range(4))]

        def turn(seed):
            maps = [noise(256 * h * w, seed + s).view(1, 256, h, w).to(DEVICE, dtype) for s, (h, w) in zip(strides, grids)]
            return lambda: [
                torchvision.ops.roi_align(m, of, side, 1 / s, 2) for m, of, s in zip(maps, split, strides) if len(of)
            ]

        turns = [turn(100 * i) for i in range(TURNS)]
        note = "its kernels alone, RoIs sorted by level beforehand"
        row(record, f"roi_align {side}x{side}, {count} RoIs", "ms", lambda: device_ms(turns), note)


def suppression(record):
    at, scores = boxes(1000, PADDED, 5).to(DEVICE), noise(1000, 7).to(DEVICE)
    turns = [lambda: torchvision.ops.nms(at, scores, 0.5)] * TURNS
    row(record, "nms, 1000 boxes", "ms", lambda: device_ms(turns, graph=False), "with its wait for the host")


def proposals(record):
    """What torchvision does between the RPN's head and the proposals: decode, top-k, NMS by level."""
    rpn = model().rpn
    images = prepared(1)
    grids = [(-(-PADDED[1] // s), -(-PADDED[0] // s)) for s in (4, 8, 16, 32, 64)]
    features = [torch.empty(1, 1, h, w, device=DEVICE) for h, w in grids]
    counts = [3 * h * w for h, w in grids]
    anchors = rpn.anchor_generator(images, features)
    logits = torch.cat([noise(count, 7 + i) * 4 - 4 for i, count in enumerate(counts)]).to(DEVICE).view(-1, 1)
    deltas = (noise(4 * sum(counts), 8) * 0.2).to(DEVICE).view(-1, 4)

    def run():
        decoded = rpn.box_coder.decode(deltas, anchors).view(1, -1, 4)
        return rpn.filter_proposals(decoded, logits, images.image_sizes, counts)

    row(record, "proposals, 1000 kept", "ms", lambda: wall_ms(run), "eager, with its waits for the host")


def compiled(record):
    """The dense parts compiled one by one, the rest eager: what torch.compile gives without graph breaks."""
    for batch in BATCHES:
        name = f"compiled parts, eager rest, batch {batch}"
        try:
            torch._dynamo.reset()
            whole = model()
            how = {"backend": "eager"} if SMOKE else {"mode": "reduce-overhead"}
            compile_one = lambda part: torch.compile(part, dynamic=False, **how)
            whole.backbone = compile_one(whole.backbone)
            whole.rpn.head = compile_one(whole.rpn.head)
            heads = whole.roi_heads
            for part in ("box_head", "box_predictor", "mask_head", "mask_predictor"):
                setattr(heads, part, compile_one(getattr(heads, part)))
            net, images = Net(whole), prepared(batch)
        except Exception as error:
            record.add(name, "ms", None, f"{type(error).__name__}: {str(error)[:200]}")
            continue

        def run():
            torch.compiler.cudagraph_mark_step_begin()
            with amp():
                return net(images)

        row(record, name, "ms", lambda: wall_ms(run), "torch.compile reduce-overhead")


def main():
    folder = next((word for word in sys.argv[1:] if not word.startswith("-")), None)
    if folder is None:
        sys.exit(__doc__)
    if not SMOKE and not torch.cuda.is_available():
        sys.exit("torch sees no GPU")
    torch.backends.cudnn.benchmark = True
    record = Record(folder)
    with contextlib.suppress(KeyboardInterrupt):
        for step in (ceilings, eager, roi_aligns, suppression, proposals, compiled):
            step(record)
    if SMOKE:
        sys.exit(any(row["note"] != SMOKE_NOTE for row in record.whole["rows"]))


if __name__ == "__main__":
    main()
