"""Reference run of MaskRCNN2Go, operator by operator from its Caffe2 predict net, with torch in f32.

    maskrcnn2go.py MODEL_DIR eval COCO_DIR [--quant none|clamp|full|bf16] [--boxes detectron|network|continuous|edges]
                                           [--square SIDE] [--sampling N] [--results FILE] [--limit N]
    maskrcnn2go.py MODEL_DIR detect IMAGE... > detections.json
    maskrcnn2go.py MODEL_DIR golden > tests/data/mask_rcnn2go_golden.json
    maskrcnn2go.py MODEL_DIR table
    maskrcnn2go.py MODEL_DIR safetensors FILE

MODEL_DIR holds `model_int8_model.pb` (operators) and `model_int8_model_init.pb` (8 bit weights, scales, zero
points).
Needs numpy, torch, torchvision; `eval` also opencv-python and pycocotools; `safetensors` also safetensors.
Made with torch 2.15, torchvision 0.29.2, opencv-python 4.13, pycocotools 2.0.

Blobs are [N, C, H, W] here whatever the net says; weights [O, I, kh, kw], of transposed convolutions [I, O, kh, kw].
"""

import argparse
import json
import math
import struct
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torchvision.ops import roi_align

torch.set_num_threads(2)

SHORT_SIDE, LONG_SIDE = 320, 640
MAX_LOG_SCALE = math.log(1000.0 / 16.0)


# --- protobuf, as far as NetDef needs it -----------------------------------------------------------------------------


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def fields(data):
    """(number, value) of each field: an int for a varint, bytes for everything else."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        wire = key & 7
        if wire == 0:
            value, at = varint(data, at)
        else:
            size, at = varint(data, at) if wire == 2 else ({5: 4, 1: 8}[wire], at)
            value, at = data[at : at + size], at + size
        yield key >> 3, value


def int_of(raw):
    return raw - (1 << 64) if raw >> 63 else raw


def argument(data):
    """(name, value) of an Argument: f = 2, i = 3, s = 4, floats = 5, ints = 6."""
    name, value = "", None
    for number, raw in fields(data):
        if number == 1:
            name = raw.decode()
        elif number == 2:
            value = struct.unpack("<f", raw)[0]
        elif number == 3:
            value = int_of(raw)
        elif number == 4:
            value = raw
        elif number == 5:
            value = (value or []) + list(struct.unpack(f"<{len(raw) // 4}f", raw))
        elif number == 6:
            if isinstance(raw, int):
                value = (value or []) + [int_of(raw)]
            else:
                value, at = value or [], 0
                while at < len(raw):
                    one, at = varint(raw, at)
                    value.append(int_of(one))
    return name, value


class Operator:
    def __init__(self, data):
        self.inputs, self.outputs, self.args = [], [], {}
        for number, raw in fields(data):
            if number == 1:
                self.inputs.append(raw.decode())
            elif number == 2:
                self.outputs.append(raw.decode())
            elif number == 4:
                self.type = raw.decode()
            elif number == 5:
                name, value = argument(raw)
                self.args[name] = value


def operators(path):
    return [Operator(raw) for number, raw in fields(path.read_bytes()) if number == 2]


def read_weights(path):
    """Blob name -> f32 tensor; four-dimensional ones [O, kh, kw, I] -> [O, I, kh, kw]."""
    weights = {}
    for op in operators(path):
        a, name = op.args, op.outputs[0]
        if op.type == "Int8GivenTensorFill":
            values = np.frombuffer(a["values"], np.uint8).astype(np.float32) - a["Y_zero_point"]
            values *= np.float32(a["Y_scale"])
        elif op.type == "Int8GivenIntTensorFill":
            values = np.array(a["values"], np.float32) * np.float32(a["Y_scale"])
        else:
            values = np.array(a["values"], np.float32)
        tensor = torch.from_numpy(values.astype(np.float32).reshape(a["shape"]))
        weights[name] = tensor.permute(0, 3, 1, 2).contiguous() if tensor.dim() == 4 else tensor
    return weights


# --- boxes -----------------------------------------------------------------------------------------------------------
# `one`: 1 where x1 and y1 are the last pixel (the old convention, which the net was trained with), 0 where they are
# edges.


def decode(boxes, deltas, weights, one):
    """boxes [N, 4], deltas [N, 4] -> [N, 4]."""
    w, h = boxes[:, 2] - boxes[:, 0] + one, boxes[:, 3] - boxes[:, 1] + one
    x, y = boxes[:, 0] + 0.5 * w, boxes[:, 1] + 0.5 * h
    dx, dy, dw, dh = (deltas[:, i] / weights[i] for i in range(4))
    x, y = x + dx * w, y + dy * h
    w, h = w * dw.clamp(max=MAX_LOG_SCALE).exp(), h * dh.clamp(max=MAX_LOG_SCALE).exp()
    return torch.stack([x - 0.5 * w, y - 0.5 * h, x + 0.5 * w - one, y + 0.5 * h - one], 1)


def clip(boxes, height, width, one):
    x, y = boxes[:, 0::2].clamp(0, width - one), boxes[:, 1::2].clamp(0, height - one)
    return torch.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], 1)


def nms(boxes, scores, threshold, one):
    """Kept indices, best first."""
    b = boxes.numpy()
    area = (b[:, 2] - b[:, 0] + one) * (b[:, 3] - b[:, 1] + one)
    order, keep = np.argsort(-scores.numpy(), kind="stable"), []
    while order.size:
        i, order = order[0], order[1:]
        keep.append(int(i))
        w = np.minimum(b[i, 2], b[order, 2]) - np.maximum(b[i, 0], b[order, 0]) + one
        h = np.minimum(b[i, 3], b[order, 3]) - np.maximum(b[i, 1], b[order, 1]) + one
        inter = w.clip(0) * h.clip(0)
        order = order[inter <= threshold * (area[i] + area[order] - inter)]
    return keep


def proposals(scores, deltas, im_info, anchors, a, one):
    """scores [1, A, H, W], deltas [1, 4A, H, W], im_info (height, width, scale) -> boxes [R, 4], network px."""
    _, count, rows, columns = scores.shape
    stride = 1.0 / a["spatial_scale"]
    y, x = torch.meshgrid(torch.arange(rows) * stride, torch.arange(columns) * stride, indexing="ij")
    anchors = anchors + torch.tensor([0, 0, 1 - one, 1 - one])
    boxes = torch.stack([x, y, x, y], -1)[:, :, None] + anchors  # [H, W, A, 4]
    deltas = deltas[0].view(count, 4, rows, columns).permute(2, 3, 0, 1)
    scores = scores[0].permute(1, 2, 0).reshape(-1)
    top = torch.sort(scores, descending=True, stable=True).indices[: a["pre_nms_topN"]]
    boxes = decode(boxes.reshape(-1, 4)[top], deltas.reshape(-1, 4)[top], [1.0] * 4, one)
    boxes, scores = clip(boxes, im_info[0], im_info[1], one), scores[top]
    keep = nms(boxes, scores, a["nms_thresh"], one)[: a["post_nms_topN"]]
    return boxes[keep], scores[keep]


def limited(scores, boxes, a, one):
    """scores [R, 81], boxes [R, 324] -> scores [D], boxes [D, 4], classes [D] from 1, the best over all classes."""
    found = []
    for k in range(1, scores.shape[1]):
        over = (scores[:, k] > a["score_thresh"]).nonzero()[:, 0]
        b, s = boxes[over, 4 * k : 4 * k + 4], scores[over, k]
        found += [(float(s[i]), k, b[i]) for i in nms(b, s, a["nms"], one)]
    found = sorted(found, key=lambda f: -f[0])[: a["detections_per_im"]]
    if not found:
        return torch.zeros(0), torch.zeros(0, 4), torch.zeros(0, dtype=torch.long)
    return torch.tensor([f[0] for f in found]), torch.stack([f[2] for f in found]), torch.tensor([f[1] for f in found])


# --- the net ---------------------------------------------------------------------------------------------------------


class Net:
    """`quant`: what each 8 bit operator does to its output: nothing, clamp to what 8 bits can hold, or round to them;
    bf16 rounds all weights and outputs to bf16 instead.
    `boxes`: the box head's deltas apply to proposals in source px (detectron) or network px (network); or in network
    px with x1 and y1 edges, where only RoIAlign knows the old convention (continuous) or nothing does (edges)."""

    def __init__(self, folder, quant="none", boxes="detectron", sampling=None):
        self.ops = operators(folder / "model_int8_model.pb")
        self.weights = read_weights(folder / "model_int8_model_init.pb")
        self.quant, self.boxes, self.sampling = quant, boxes, sampling
        if quant == "bf16":
            convolved = {n: w.bfloat16().float() for n, w in self.weights.items() if n.endswith("_w_int8")}
            self.weights.update(convolved)
        self.one = 1.0 if boxes in ("detectron", "network") else 0.0

    def run(self, blobs, first=None, last=None):
        """`blobs`: name -> tensor, to start from. Operators from the one that makes `first` to the one that makes
        `last`. All blobs made."""
        blobs = {**self.weights, **blobs}
        started = first is None
        for op in self.ops:
            started = started or first in op.outputs
            if started:
                made = self.apply(op, [blobs[name] for name in op.inputs], blobs)
                blobs.update(zip(op.outputs, made if isinstance(made, tuple) else (made,)))
                if last in op.outputs:
                    break
        return blobs

    def quantised(self, x, a):
        if self.quant == "none" or "Y_scale" not in a:
            return x
        if self.quant == "bf16":
            return x.bfloat16().float()
        q = x / a["Y_scale"] + a["Y_zero_point"]
        q = q.round() if self.quant == "full" else q
        return (q.clamp(0, 255) - a["Y_zero_point"]) * a["Y_scale"]

    def apply(self, op, x, blobs):
        a = op.args
        if op.type in ("NCHW2NHWC", "NHWC2NCHW", "Int8Dequantize"):
            return x[0]
        if op.type == "Int8Quantize":
            return self.quantised(x[0], a)
        if op.type in ("Int8Conv", "Int8ConvRelu"):
            y = F.conv2d(x[0], x[1], x[2], a["stride"], a["pad"], groups=a.get("group", 1))
            return self.quantised(y.relu() if op.type == "Int8ConvRelu" else y, a)
        if op.type == "Int8ConvTranspose":
            return self.quantised(F.conv_transpose2d(x[0], x[1], x[2], a["stride"], a["pad"]), a)
        if op.type == "Int8Sum":
            return self.quantised(x[0] + x[1], a)
        if op.type == "Int8Relu":
            return self.quantised(x[0].relu(), a)
        if op.type == "Int8AveragePool":
            return self.quantised(F.avg_pool2d(x[0], a["kernel"], a["stride"]), a)
        if op.type == "Int8FC":
            return self.quantised(F.linear(x[0].flatten(1), x[1], x[2]), a)
        if op.type == "Int8Softmax":
            return self.quantised(x[0].softmax(1), a)
        if op.type == "Sigmoid":
            return x[0].sigmoid()
        if op.type == "GenerateProposals":
            return proposals(x[0], x[1], x[2][0].tolist(), x[3], a, self.one)
        if op.type == "RoIAlign":
            # Boxes of detections are kept in source px below; the features are in network px.
            rois = x[1] * float(blobs["im_info"][0, 2]) if op.inputs[1] == "bbox_nms" else x[1]
            if self.boxes == "continuous":
                rois = rois - torch.tensor([0.0, 0.0, 1.0, 1.0])
            rois = torch.cat([torch.zeros(len(rois), 1), rois], 1)
            side, ratio = (a["pooled_h"], a["pooled_w"]), self.sampling or a["sampling_ratio"] or -1
            return roi_align(x[0], rois, side, a["spatial_scale"], ratio, aligned=False)
        if op.type == "BBoxTransform":
            height, width, scale = x[2][0].tolist()
            rois, deltas = x[0], x[1]
            if self.boxes == "detectron":
                rois, height, width = rois / scale, int(height / scale + 0.5), int(width / scale + 0.5)
            boxes = [clip(decode(rois, d, a["weights"], self.one), height, width, self.one) for d in deltas.split(4, 1)]
            boxes = torch.cat(boxes, 1)
            return boxes if self.boxes == "detectron" else boxes / scale
        if op.type == "BoxWithNMSLimit":
            return limited(x[0], x[1], a, self.one)
        raise ValueError(f"operator {op.type} is not known here")


def load(path, square):
    """An image file -> data [1, 3, H, W] BGR 0..255, im_info [1, 3], (height, width) of the file."""
    import cv2

    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    height, width = image.shape[:2]
    scale = SHORT_SIDE / min(height, width)
    if round(scale * max(height, width)) > LONG_SIDE:
        scale = LONG_SIDE / max(height, width)
    if square:
        scale = square / max(height, width)
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
    rows, columns = small.shape[:2]
    data = torch.from_numpy(small).permute(2, 0, 1)[None].float()
    if square:
        data = F.pad(data, (0, square - columns, 0, square - rows))
    return data, torch.tensor([[rows, columns, scale]]), (height, width)


def detect(net, path, square=None):
    """-> scores [D], classes [D] from 1, boxes [D, 4] source px, masks [D, 24, 24] of each one's own class."""
    data, im_info, size = load(path, square)
    with torch.no_grad():
        blobs = net.run({"data": data, "im_info": im_info}, last="class_nms")
        classes = blobs["class_nms"]
        masks = torch.zeros(0, 24, 24)
        if len(classes):
            blobs = net.run(blobs, first="_[mask]_pool5")
            masks = blobs["mask_fcn_probs"][torch.arange(len(classes)), classes]
    return blobs["score_nms"], classes, blobs["bbox_nms"], masks, size


# --- masks -----------------------------------------------------------------------------------------------------------


def paste_detectron(mask, box, height, width):
    """The mask with a border of one cell, the box grown alike and cut to whole px, cv2.resize, over 0.5."""
    import cv2

    side = mask.shape[0]
    padded = np.zeros((side + 2, side + 2), np.float32)
    padded[1:-1, 1:-1] = mask
    grow = (side + 2.0) / side
    cx, cy = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    half_w, half_h = (box[2] - box[0]) / 2 * grow, (box[3] - box[1]) / 2 * grow
    x0, y0, x1, y1 = (int(v) for v in (cx - half_w, cy - half_h, cx + half_w, cy + half_h))
    w, h = max(x1 - x0 + 1, 1), max(y1 - y0 + 1, 1)
    grid = cv2.resize(padded, (w, h)) > 0.5
    out = np.zeros((height, width), np.uint8)
    left, top, right, bottom = max(x0, 0), max(y0, 0), min(x1 + 1, width), min(y1 + 1, height)
    out[top:bottom, left:right] = grid[top - y0 : bottom - y0, left - x0 : right - x0]
    return out


def paste_ours(mask, box, height, width, plus_one):
    """The rule of src/instances/soft.rs on 8 bit probabilities and a box in 1/256 px."""
    side = mask.shape[0]
    cells = np.zeros((side + 2, side + 2))
    cells[1:-1, 1:-1] = np.rint(mask * 255.0)
    lo = [round(256 * v) for v in box[:2]]
    hi = [round(256 * (v + plus_one)) for v in box[2:]]

    def samples(lo, hi, limit):
        pixel = np.arange(limit)
        pixel = pixel[(256 * pixel + 128 >= lo) & (256 * pixel + 128 < hi)]
        n, whole = 2 * side * (256 * pixel + 128 - lo) - (hi - lo), 2 * (hi - lo)
        return pixel, n // whole + 1, (n % whole) / whole

    (px, a, fx), (py, b, fy) = samples(lo[0], hi[0], width), samples(lo[1], hi[1], height)
    fx, fy = fx[None], fy[:, None]
    at = lambda rows, columns: cells[rows[:, None], columns[None]]
    row = lambda b: (1 - fx) * at(b, a) + fx * at(b, a + 1)
    value = (1 - fy) * row(b) + fy * row(b + 1)
    out = np.zeros((height, width), np.uint8)
    out[py[:, None], px[None]] = value >= 127.5
    return out


# --- commands --------------------------------------------------------------------------------------------------------


def evaluate(args):
    from pycocotools import mask as codec
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    folder = Path(args.paths[0])
    annotations = next((folder / "annotations").glob("*val*.json"))
    truth = COCO(str(annotations))
    categories = sorted(truth.getCatIds())
    net = Net(args.model, args.quant, args.boxes, args.sampling)
    ids = sorted(truth.getImgIds())[: args.limit]
    pastes = {
        "detectron": paste_detectron,
        "ours": lambda *a: paste_ours(*a, 0.0),
        "ours+1": lambda *a: paste_ours(*a, 1.0),
    }
    results = {name: [] for name in pastes}
    for image_id in ids:
        path = folder / "val2017" / truth.loadImgs(image_id)[0]["file_name"]
        scores, classes, boxes, masks, (height, width) = detect(net, path, args.square)
        for s, k, b, m in zip(scores.tolist(), classes.tolist(), boxes.tolist(), masks.numpy()):
            for name, paste in pastes.items():
                rle = codec.encode(np.asfortranarray(paste(m, b, height, width)))
                rle["counts"] = rle["counts"].decode()
                box = [b[0], b[1], b[2] - b[0] + net.one, b[3] - b[1] + net.one]
                row = {"image_id": image_id, "category_id": categories[k - 1], "bbox": box, "score": s}
                results[name].append({**row, "segmentation": rle})
    for name, kind in [("detectron", "bbox"), *((name, "segm") for name in pastes)]:
        judge = COCOeval(truth, truth.loadRes(results[name]), kind)
        judge.params.imgIds = ids
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
        print(f"{kind} paste {name} AP {judge.stats[0]:.4f} AP50 {judge.stats[1]:.4f} AP75 {judge.stats[2]:.4f}")
    if args.results:
        Path(args.results).write_text(json.dumps(results["detectron"]))


def noise(shape, seed, low, high):
    """The same numbers as the golden test makes: a 64 bit congruential generator, its upper 24 bits."""
    state, values = seed, []
    for _ in range(math.prod(shape)):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        values.append(low + (high - low) * ((state >> 40) / 2.0**24))
    return torch.tensor(values, dtype=torch.float64).float().view(shape)


def golden(args):
    """A few outputs of the three dense parts on noise."""
    net = Net(args.model)
    with torch.no_grad():
        image, rois = noise((1, 3, 96, 128), 1, 0.0, 255.0), noise((2, 128, 6, 6), 2, -1.0, 1.0)
        trunk = net.run({"data": image}, last="rpn_bbox_pred")
        box = net.run({"roi_features": rois}, first="roi_features_int8", last="bbox_pred_int8")
        mask = net.run({"_[mask]_pool5": rois}, first="_[mask]_pool5_int8", last="mask_fcn_logits_up")
    outputs = {
        "features": trunk["xif3_6_int8"],
        "objectness": trunk["rpn_cls_logits"],
        "deltas": trunk["rpn_bbox_pred"],
        "box_logits": box["cls_score_int8"],
        "box_deltas": box["bbox_pred_int8"],
        "mask_logits": mask["mask_fcn_logits_up"],
    }
    said = {}
    for name, tensor in outputs.items():
        flat = tensor.flatten()
        step = max(len(flat) // 40, 1) | 1
        said[name] = {
            "shape": list(tensor.shape),
            "largest": round(float(flat.abs().max()), 6),
            "step": step,
            "values": [round(float(v), 6) for v in flat[::step]],
        }
    lines = ",\n".join(f'"{name}": {json.dumps(values)}' for name, values in said.items())
    print("{\n" + lines + "\n}")


def table(args):
    net = Net(args.model)
    for op in net.ops:
        a = op.args
        shape = next((list(net.weights[i].shape) for i in op.inputs[1:2] if i in net.weights), "")
        window = "/".join(str(a[k]) for k in ("kernel", "stride", "pad", "group") if k in a)
        sources = " ".join(i for i in op.inputs if i not in net.weights)
        weights = " ".join(i for i in op.inputs if i in net.weights)
        print(f"| {op.type} | {window} | {shape} | {sources} | {weights} | {' '.join(op.outputs)} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("command", choices=["eval", "detect", "golden", "table", "safetensors"])
    parser.add_argument("paths", nargs="*")
    parser.add_argument("--quant", default="none", choices=["none", "clamp", "full", "bf16"])
    parser.add_argument("--boxes", default="detectron", choices=["detectron", "network", "continuous", "edges"])
    parser.add_argument("--square", type=int, help="fit the picture into a square, as an engine of one fixed size does")
    parser.add_argument("--sampling", type=int, help="RoIAlign samples a side of a cell; else as many as it has pixels")
    parser.add_argument("--results")
    parser.add_argument("--limit", type=int)
    args = parser.parse_args()
    if args.command == "eval":
        evaluate(args)
    elif args.command == "detect":
        net, said = Net(args.model, args.quant, args.boxes, args.sampling), {}
        for path in args.paths:
            scores, classes, boxes, masks, size = detect(net, path, args.square)
            said[Path(path).name] = {
                "height_width": size,
                "detections": [
                    {"score": s, "class": k, "box": b, "mask_share": float((m > 0.5).mean())}
                    for s, k, b, m in zip(scores.tolist(), classes.tolist(), boxes.tolist(), masks.numpy())
                ],
            }
        json.dump(said, sys.stdout, indent=1)
    elif args.command == "golden":
        golden(args)
    elif args.command == "table":
        table(args)
    else:
        from safetensors.torch import save_file

        save_file(read_weights(args.model / "model_int8_model_init.pb"), args.paths[0])


if __name__ == "__main__":
    main()
