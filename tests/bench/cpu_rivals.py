"""Mask R-CNN R50-FPN on two threads, ours against torchvision eager, ONNX Runtime and OpenVINO, timed in turn.

    python tests/bench/cpu_rivals.py MASKCAST [--rounds N] [--cases 480x640-10,...] [--work DIR] [--json FILE]

Needs torch, torchvision, onnx, onnxscript, onnxruntime, openvino (2026.4), numpy; MASKCAST is the release program, which
finds its own OpenVINO (`make bench-cpu` sees to all but the Python packages).

One checkpoint with random, seeded weights goes to everybody, set so that 1000 proposals of natural sizes survive, most of
them background, and exactly D detections come out. The score threshold is torchvision's 0.05: at 0 all 90 classes of 1000
proposals go into the last suppression, which costs ONNX Runtime 1.7 s and no trained network ever does; `--score-threshold
0` shows it. Every round runs each side once, one after the other; medians are compared. What is timed:
  ours         RGB8 picture -> resize (identity), normalise, network, masks pasted and run-length encoded
  torchvision  the whole eager call: normalise, network, masks pasted
  onnxruntime  the whole exported network from the normalised and padded tensor to 28x28 masks (no resize, no paste)
  openvino     the same graph
On rows whose masks are pasted, torchvision's own paste of those masks is added to the last two.
"""
import argparse
import json
import os
import pathlib
import statistics
import struct
import subprocess
import sys
import time
import zlib

import numpy as np
import openvino
import torch
import torchvision
from torchvision.models.detection import maskrcnn_resnet50_fpn
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import paste_masks_in_image

THREADS = 2
PROPOSALS = 1000
CANDIDATES = 800  # pairs of proposal and class above a score of 0.05, at 480x640
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
# name: height, width, detections, whether masks are pasted
CASES = {
    "800x1066-100": (800, 1066, 100, True),
    "480x640-10": (480, 640, 10, False),
    "320x320-10": (320, 320, 10, False),
}
OURS = ["ours f32", "ours bf16", "ours int8"]
RIVALS = ["torchvision f32", "onnxruntime f32", "openvino f32", "openvino bf16"]
# Ratio of times and what it should be at most, by case.
GOALS = {
    "ours bf16 / torchvision f32": {"800x1066-100": 0.21, "480x640-10": 0.20, "320x320-10": 0.22},
    "ours bf16 / onnxruntime f32": {"800x1066-100": 0.37, "480x640-10": 0.30, "320x320-10": 0.30},
    "ours bf16 / openvino bf16": {"800x1066-100": 0.90, "480x640-10": 0.82, "320x320-10": 0.82},
    "ours int8 / ours bf16": {"800x1066-100": 0.65, "480x640-10": 0.70, "320x320-10": 0.70},
}


# ---- the network and the pictures


def picture(height, width, seed):
    """Smooth noise over several scales, [H,W,3] bytes."""
    generator = torch.Generator().manual_seed(seed)
    total = torch.zeros(1, 3, height, width)
    for cells in (4, 16, 64):
        coarse = torch.randn(1, 3, cells, cells, generator=generator)
        total += torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")
    fine = 0.3 * torch.randn(1, 3, height, width, generator=generator)
    return ((total + fine) * 45 + 120).clamp(0, 255).byte()[0].permute(1, 2, 0).contiguous().numpy()


def write_png(path, rgb):
    height, width, _ = rgb.shape
    rows = b"".join(b"\0" + rgb[y].tobytes() for y in range(height))
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows, 1)) + chunk(b"IEND", b""))


def normalised(rgb):
    """[1,3,H,W] padded to multiples of 32."""
    x = torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255
    x = (x - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    height, width = x.shape[-2:]
    return torch.nn.functional.pad(x, (0, -width % 32, 0, -height % 32)).contiguous()


def network(score_threshold):
    """Raw initial weights saturate every score; scales are set layer by layer from what one picture gives."""
    torch.manual_seed(0)
    model = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, box_score_thresh=score_threshold).eval()
    model.requires_grad_(False)
    for name, module in model.backbone.body.named_modules():
        if name.endswith("bn3"):
            module.weight.fill_(0.3)  # else each block doubles the variance
    x = normalised(picture(480, 640, 1))
    rpn, heads, fpn = model.rpn, model.roi_heads, model.backbone.fpn
    # Larger levels say more, so that proposals come from all of them.
    for level, wanted in enumerate((1.0, 1.15, 1.4, 1.8)):
        conv = fpn.layer_blocks[level][0]
        conv.weight *= wanted / list(model.backbone(x).values())[level].std()
    objectness, deltas = rpn.head(list(model.backbone(x).values()))
    rpn.head.cls_logits.weight *= 2.0 / objectness[0].std()
    spread = deltas[0].view(1, 3, 4, -1).std(dim=(0, 1, 3))
    scale = torch.tensor([0.3, 0.3, 0.6, 0.6]) / spread
    rpn.head.bbox_pred.weight *= scale.repeat(3)[:, None, None, None]
    proposals, _ = rpn(ImageList(x, [(480, 640)]), model.backbone(x))
    pooled = heads.box_roi_pool(model.backbone(x), proposals, [(480, 640)])
    predictor = heads.box_predictor
    logits, regressed = predictor(heads.box_head(pooled))
    # Centred, else one class wins everywhere.
    predictor.cls_score.bias -= logits.mean(0)
    predictor.cls_score.weight *= 2.0 / (logits - logits.mean(0)).std()
    predictor.cls_score.bias *= 2.0 / (logits - logits.mean(0)).std()
    # Background, until a trained network's number of candidates is left.
    while (predictor(heads.box_head(pooled))[0].softmax(1)[:, 1:] > 0.05).sum() > CANDIDATES:
        predictor.cls_score.bias[0] += 0.25
    predictor.bbox_pred.weight *= 0.5 / regressed.std()
    masks = heads.mask_predictor(heads.mask_head(heads.mask_roi_pool(model.backbone(x), [proposals[0][:10]], [(480, 640)])))
    heads.mask_predictor.mask_fcn_logits.weight *= 2.0 / masks.std()
    return model


class Whole(torch.nn.Module):
    """The normalised, padded picture -> boxes, labels, scores, 28x28 masks, and how many proposals there were."""

    def __init__(self, model, size):
        super().__init__()
        self.model, self.size = model, size

    def forward(self, x):
        features = self.model.backbone(x)
        sizes = [self.size]
        proposals, _ = self.model.rpn(ImageList(x, sizes), features)
        found, _ = self.model.roi_heads(features, proposals, sizes)
        found = found[0]
        return found["boxes"], found["labels"], found["scores"], found["masks"], torch.ops.aten._shape_as_tensor(proposals[0])[:1]


def export(model, size, x, path):
    with torch.no_grad():
        torch.onnx.export(Whole(model, size).eval(), (x,), str(path), opset_version=17, dynamo=False,
                          input_names=["image"], output_names=["boxes", "labels", "scores", "masks", "proposals"])


# ---- who is timed: each a call that gives milliseconds, and what it found


def timed(call):
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1e3


def openvino_settings(precision):
    return {
        "INFERENCE_PRECISION_HINT": precision,
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": str(THREADS),
    }


class Ours:
    """`maskcast engine time --on-request`: one line in, one line of milliseconds out."""

    def __init__(self, program, recipe, image, precision):
        command = [program, "engine", "time", recipe, "--on-request", "--image", image]
        command += ["--precision", precision, "--threads", str(THREADS)]
        self.child = subprocess.Popen([str(c) for c in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        if self.child.stdout.readline().strip() != "ready":
            raise SystemExit(f"did not start: {' '.join(map(str, command))}")

    def __call__(self):
        self.child.stdin.write("\n")
        self.child.stdin.flush()
        self.answer = self.child.stdout.readline().strip()
        return float(self.answer.split()[0])

    def found(self):
        return self.answer.split(", ")[1]

    def close(self):
        self.child.stdin.close()
        self.child.wait()


class Eager:
    def __init__(self, model, rgb):
        height, width, _ = rgb.shape
        model.transform.min_size, model.transform.max_size = (min(height, width),), max(height, width)
        self.model, self.x = model, [torch.from_numpy(rgb).permute(2, 0, 1).float() / 255]
        self.proposals = 0
        model.rpn.register_forward_hook(lambda _module, _inputs, out: setattr(self, "proposals", len(out[0][0])))

    def run(self):
        with torch.inference_mode():
            self.out = self.model(self.x)[0]

    def __call__(self):
        return timed(self.run)

    def found(self):
        return f"{self.proposals} proposals, {len(self.out['boxes'])} instances, masks {tuple(self.out['masks'].shape)}"


class Exported:
    """`infer(x)` gives the exported graph's outputs; `paste` = the picture's size, or None."""

    def __init__(self, infer, paste):
        self.infer, self.paste = infer, paste

    def run(self):
        self.out = self.infer()
        if self.paste:
            boxes, masks = torch.from_numpy(self.out[0]), torch.from_numpy(self.out[3])
            self.pasted = paste_masks_in_image(masks, boxes, self.paste)

    def __call__(self):
        return timed(self.run)

    def found(self):
        return f"{int(self.out[4][0])} proposals, {len(self.out[0])} instances, masks {self.out[3].shape}"


def onnxruntime_side(path, x, paste):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return Exported(lambda: session.run(None, {"image": x.numpy()}), paste)


def openvino_side(path, x, paste, precision):
    core = openvino.Core()
    model = core.read_model(str(path))
    model.reshape({"image": list(x.shape)})
    request = core.compile_model(model, "CPU", openvino_settings(precision)).create_infer_request()
    request.set_input_tensor(openvino.Tensor(x.numpy()))

    def infer():
        request.infer()
        return [request.get_output_tensor(i).data for i in range(5)]

    return Exported(infer, paste)


def engine(program, checkpoint, work, case, score_threshold, scale_table=None):
    """Recipe and weights for one case; the resize is the identity."""
    height, width, detections, _ = CASES[case]
    names = ", ".join(f'"class {i + 1}"' for i in range(90))
    name = f"bench-{case}" + ("-int8" if scale_table else "")
    recipe = work / f"{name}.recipe.toml"
    executor = f'precision = "{"int8" if scale_table else "bf16"}"\n'
    if scale_table:
        executor += f'scale_table = "{scale_table}"\n'
    recipe.write_text(f"""name = "{name}"
classes = [{names}]
[network]
kind = "mask_rcnn"
backbone = "resnet50"
fpn_width = 256
representation_size = 1024
anchor_sizes_px = [32, 64, 128, 256, 512]
anchor_ratios = [0.5, 1.0, 2.0]
canonical_scale_px = 224
canonical_level = 4
sampling_ratio = 2
[input]
shortest_edge_px = {min(height, width)}
longest_edge_px = {max(height, width)}
channels = "rgb"
mean = {MEAN}
std = {STD}
[weights]
file = "{name}.safetensors"
licence = "none"
origin = "random"
data = "none"
command = "make bench-cpu"
[test]
pre_nms_top_n = 1000
post_nms_top_n = {PROPOSALS}
rpn_nms_threshold = 0.7
score_threshold = {score_threshold}
nms_threshold = 0.5
detections = {detections}
[executor]
{executor}""")
    out = work / name
    out.mkdir(exist_ok=True)
    subprocess.run([program, "engine", "import", "--from", "torchvision", checkpoint, "--recipe", recipe, "--out", out],
                   check=True, stdout=subprocess.DEVNULL)
    return out / f"{name}.toml"


def int8_engine(program, checkpoint, work, case, score_threshold, plain):
    """The recipe, or why there is none. The scales come from the bench's own picture: only speed is measured."""
    if subprocess.run([program, "calibrate", "--help"], capture_output=True).returncode != 0:
        return None, "this build has no `maskcast calibrate`"
    images, table = work / f"calibrate-{case}", work / f"{case}.scales.toml"
    images.mkdir(exist_ok=True)
    height, width, *_ = CASES[case]
    for seed in (7, 8):
        write_png(images / f"{seed}.png", picture(height, width, seed))
    made = subprocess.run([program, "calibrate", "--engine", plain, "--images", images, "--frames", "2", "--out", table],
                          capture_output=True, text=True)
    if made.returncode != 0:
        return None, f"calibration failed: {made.stderr.strip()[:200]}"
    return engine(program, checkpoint, work, case, score_threshold, table.resolve()), None


# ---- peaks


def convolution_gflops():
    """GFLOP/s of a 3x3 convolution, 256 to 256 channels on 200x272, in f32, bf16 and int8, through OpenVINO."""
    ops = openvino.opset13
    flop = 2 * 9 * 256 * 256 * 200 * 272
    generator = np.random.default_rng(0)
    weight = generator.standard_normal((256, 256, 3, 3), dtype=np.float32) / 48
    peaks, requests = {}, {}
    for precision in ("f32", "bf16", "int8"):
        image = x = ops.parameter([1, 256, 200, 272], np.float32)
        kernel = ops.constant(weight)
        if precision == "int8":
            bound = lambda v: ops.constant(np.float32(v))
            x = ops.fake_quantize(x, bound(0), bound(4), bound(0), bound(4), 256)
            kernel = ops.fake_quantize(kernel, bound(-0.1), bound(0.1), bound(-0.1), bound(0.1), 255)
        # Several in a row, so that what is around them counts little; of int8 those between are int8 on both sides.
        y = x
        for _ in range(4):
            y = ops.relu(ops.convolution(y, kernel, [1, 1], [1, 1], [1, 1], [1, 1]))
            if precision == "int8":
                y = ops.fake_quantize(y, bound(0), bound(4), bound(0), bound(4), 256)
        pooled = ops.reduce_mean(y, ops.constant(np.array([2, 3])), keep_dims=False)
        model = openvino.Model([pooled], [image], precision)
        hint = "bf16" if precision == "int8" else precision
        request = openvino.Core().compile_model(model, "CPU", openvino_settings(hint)).create_infer_request()
        request.set_input_tensor(openvino.Tensor(generator.random((1, 256, 200, 272), dtype=np.float32)))
        request.infer()
        requests[precision] = request
    times = {precision: [] for precision in requests}
    for _ in range(5):
        for precision, request in requests.items():
            times[precision].append(timed(request.infer))
    for precision, series in times.items():
        peaks[precision] = 4 * flop / statistics.median(series) / 1e6
    return peaks


def dense_gflop(model, case):
    """Of the dense parts: convolutions and linear layers of one forward pass, counted as they run."""
    height, width, detections, _ = CASES[case]
    total = 0

    def count(module, inputs, out):
        nonlocal total
        if isinstance(module, torch.nn.Linear):
            total += 2 * out.numel() * module.in_features
        elif isinstance(module, torch.nn.ConvTranspose2d):
            total += 2 * inputs[0].numel() * module.out_channels * module.kernel_size[0] * module.kernel_size[1]
        else:
            total += 2 * out.numel() * module.in_channels * module.kernel_size[0] * module.kernel_size[1]

    kinds = (torch.nn.Conv2d, torch.nn.Linear, torch.nn.ConvTranspose2d)
    hooks = [m.register_forward_hook(count) for m in model.modules() if isinstance(m, kinds)]
    model.roi_heads.detections_per_img = detections
    with torch.inference_mode():
        Whole(model, (height, width)).eval()(normalised(picture(height, width, 7)))
    for hook in hooks:
        hook.remove()
    return total / 1e9


# ---- the run


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown"


def measure(program, model, checkpoint, work, case, rounds):
    height, width, detections, pasted = CASES[case]
    rgb = picture(height, width, 7)
    image = work / f"{case}.png"
    write_png(image, rgb)
    model.roi_heads.detections_per_img = detections
    x = normalised(rgb)
    onnx = work / f"{case}.onnx"
    export(model, (height, width), x, onnx)
    paste = (height, width) if pasted else None
    threshold = model.roi_heads.score_thresh
    recipe = engine(program, checkpoint, work, case, threshold)
    int8, missing = int8_engine(program, checkpoint, work, case, threshold, recipe)
    sides = {"ours f32": Ours(program, recipe, image, "f32"), "ours bf16": Ours(program, recipe, image, "bf16")}
    if int8:
        sides["ours int8"] = Ours(program, int8, image, "int8")
    sides["torchvision f32"] = Eager(model, rgb)
    sides["onnxruntime f32"] = onnxruntime_side(onnx, x, paste)
    for precision in ("f32", "bf16"):
        sides[f"openvino {precision}"] = openvino_side(onnx, x, paste, precision)
    times = {name: [] for name in sides}
    for round_ in range(rounds + 1):
        for name, side in sides.items():
            spent = side()
            if round_ > 0:  # the first touches memory
                times[name].append(spent)
    print(f"\n{case}:")
    for name, side in sides.items():
        print(f"  {name:16} {statistics.median(times[name]):9.1f} ms  best {min(times[name]):9.1f}  {side.found()}")
        if isinstance(side, Ours):
            side.close()
        if f"{detections} instances" not in side.found():
            raise SystemExit(f"{name} found {side.found()}: expected {detections} instances")
        if not isinstance(side, Ours) and not side.found().startswith(f"{PROPOSALS} proposals"):
            raise SystemExit(f"{name} found {side.found()}: expected {PROPOSALS} proposals")
    if missing:
        print(f"  {'ours int8':16} not run: {missing}")
    return {name: statistics.median(series) for name, series in times.items()}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--score-threshold", type=float, default=0.05)
    parser.add_argument("--work", default="target/bench-cpu", help="folder for the checkpoint, the graphs and the engines")
    parser.add_argument("--json", help="write the medians, peaks and ratios there")
    args = parser.parse_args()
    torch.set_num_threads(THREADS)
    work = pathlib.Path(args.work)
    work.mkdir(parents=True, exist_ok=True)
    program = str(pathlib.Path(args.program).resolve())
    model = network(args.score_threshold)
    checkpoint = work / "checkpoint.pth"
    torch.save(model.state_dict(), checkpoint)
    print(f"{processor()}, {THREADS} threads, {args.rounds} interleaved rounds, medians; load average {os.getloadavg()[0]:.2f}")
    print(f"torch {torch.__version__}, torchvision {torchvision.__version__}, OpenVINO {openvino.get_version()}")
    peaks = convolution_gflops()
    print("peak, 3x3 convolution 256 -> 256 on 200x272, GFLOP/s: " + ", ".join(f"{k} {v:.0f}" for k, v in peaks.items()))
    report = {"processor": processor(), "threads": THREADS, "rounds": args.rounds, "peak_gflops": peaks, "cases": {}}
    for case in args.cases.split(","):
        load = os.getloadavg()[0]
        medians = measure(program, model, checkpoint, work, case, args.rounds)
        gflop = dense_gflop(model, case)
        shares = {name: gflop / medians[name] * 1e3 / peaks[name.split()[1]] for name in OURS if name in medians}
        print(f"  dense layers {gflop:.1f} GFLOP; share of the peak: " + ", ".join(f"{k} {v:.0%}" for k, v in shares.items()))
        ratios = {}
        for goal, bounds in GOALS.items():
            ours, rival = goal.split(" / ")
            if ours not in medians or rival not in medians:
                print(f"  {goal:32} not run")
                continue
            ratio = ratios[goal] = medians[ours] / medians[rival]
            verdict = "met" if ratio <= bounds[case] else "MISSED"
            print(f"  {goal:32} {ratio:.3f}, goal {bounds[case]:.2f}: {verdict}")
        report["cases"][case] = {"ms": medians, "ratios": ratios, "gflop": gflop, "share_of_peak": shares,
                                 "load_before": load, "load_after": os.getloadavg()[0]}
        print(f"  load average {load:.2f} before, {os.getloadavg()[0]:.2f} after")
    columns = OURS + RIVALS
    print("\nms, medians" + "".join(f"{name:>17}" for name in columns))
    for case, row in report["cases"].items():
        cells = [f"{row['ms'][name]:.0f}" if name in row["ms"] else "not run" for name in columns]
        print(f"{case:11}" + "".join(f"{cell:>17}" for cell in cells) + ("   masks pasted" if CASES[case][3] else ""))
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
