"""The whole program against torchvision (and detectron2's rules) on real-sized checkpoints: boxes, scores and pasted masks.

    make parity                                                     torch, torchvision, numpy, Pillow and pycocotools
    python tests/oracle/parity.py --maskcast target/release/maskcast [--only TEXT] [--quick]

A checkpoint of seeded random weights is written as its library writes it, imported by `maskcast engine import`, and pictures
go through `maskcast segment --paste torchvision` and through the library. Random weights answer nothing by themselves, so
two pictures set every layer's scale: batch-norm statistics become those of its activations, and layers without batch norm
get outputs of mean 0 and a chosen spread. Scores then spread, deltas move boxes, and masks are neither empty nor full.

Bars: the same detections in the same order (but ties, scores within 1e-5), boxes within 0.02 px, scores within 1e-4, masks
IoU >= 0.999. Two steps of the paste rule turn any difference into whole pixels, so both are followed: where the grown box's
edges, cut off to whole pixels, differ (which the bar on boxes allows only beside a whole pixel), the library's grid is pasted
into our box; and below the IoU, a mask passes if every pixel that differs is within 1e-4 of one half. Both are counted in
the table. Ends with 1 past a bar. Made with torch 2.15.0, torchvision 0.29.2.
"""

import argparse
import collections
import json
import math
import os
import pathlib
import pickle
import re
import subprocess
import sys
import tempfile
import time

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from pycocotools import mask as coco
from torch import nn
from torchvision.models import detection
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import paste_masks_in_image
from torchvision.ops import FrozenBatchNorm2d, batched_nms, clip_boxes_to_image, roi_align

REPOSITORY = pathlib.Path(__file__).parents[2]
TIE = 1e-5
BOX_PX, SCORE, IOU = 0.02, 1e-4, 0.999
HALF = 1e-4  # of a pixel's value
# w, h
IDENTITY = [(320, 320), (640, 480), (1066, 800), (611, 517)]

# ---------------------------------------------------------------------------------------------------------- weights

# end of a layer's name -> standard deviation of each output channel; the first that fits
SPREADS = [
    ("rpn.head.cls_logits", 2.0),
    ("rpn.head.bbox_pred", 0.1),
    ("cls_score", 2.0),
    ("box_predictor.bbox_pred", 1.0),
    ("mask_fcn_logits", 2.5),
    ("", 1.0),
]


def settle(model, run, seed):
    """Seeds every tensor of `model`; `run()` then sends pictures through it once, and each layer is scaled on its way."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            if p.dim() > 1:
                p.normal_(0, 1 / math.sqrt(p[0].numel()), generator=g)
            else:
                p.zero_()
        # Noise through noise multiplies any rounding, and a RoI moved by 1e-4 px would see something else. Trained
        # networks are smoother, so: mostly even kernels in pyramid and mask head, blocks that change their input a little.
        even = re.compile("layer_blocks|mask_head|mask_convs|conv5_mask|deconv")
        for name, p in model.named_parameters():
            if even.search(name) and p.dim() == 4:
                p.mul_(0.5).add_(p.mean((2, 3), keepdim=True) * 2)
    hooks, seen = [], set()
    ends = {b.bn3 if hasattr(b, "bn3") else b.bn2 for b in model.modules() if hasattr(b, "bn2")}

    def norm(module, inputs):
        if module in seen:
            return
        seen.add(module)
        (x,) = inputs
        scale = 0.8 + 0.4 * torch.rand(x.shape[1], generator=g)
        module.running_mean.copy_(x.mean((0, 2, 3)))
        module.running_var.copy_(x.var((0, 2, 3)) + 1e-3)
        module.weight.copy_(scale * (0.3 if module in ends else 1.0))
        module.bias.copy_(0.2 * torch.randn(x.shape[1], generator=g))

    def layer(spread):
        def hook(module, inputs, y):
            if module in seen:
                return None
            seen.add(module)
            axes = [a for a in range(y.dim()) if a != 1]
            factor = spread / (y.std(axes) + 1e-3)
            shift = -y.mean(axes) * factor
            transposed = isinstance(module, nn.ConvTranspose2d)
            shape = [1, -1] if transposed else [-1, 1]
            module.weight.mul_(factor.view(shape + [1] * (module.weight.dim() - 2)))
            module.bias.copy_(module.bias * factor + shift)
            return y * factor.view([1, -1] + [1] * (y.dim() - 2)) + shift.view([1, -1] + [1] * (y.dim() - 2))

        return hook

    for name, module in model.named_modules():
        if isinstance(module, (FrozenBatchNorm2d, nn.BatchNorm2d)):
            hooks.append(module.register_forward_pre_hook(norm))
        elif getattr(module, "bias", None) is not None:
            spread = next(s for end, s in SPREADS if name.endswith(end))
            hooks.append(module.register_forward_hook(layer(spread)))
    with torch.no_grad():
        run()
    for hook in hooks:
        hook.remove()


def resized(size, multiple=32):
    return [-(-side // multiple) * multiple for side in size]


# -------------------------------------------------------------------------------------------------------- torchvision


class Torchvision:
    """One of torchvision's detectors; its boxes start at class 1."""

    recipe = "coco-resnet50"
    source = "torchvision"
    suffix = ".pth"
    masks = True

    def __init__(self, name, build, recipe, edits=(), file_format="zip", seed=1):
        self.name, self.build, self.recipe = name, build, recipe
        self.edits, self.file_format, self.seed = edits, file_format, seed

    def make(self, shown):
        self.model = self.build().eval()
        settle(self.model, lambda: self.answer(shown, shown[0].shape[:2]), self.seed)
        self.masks = self.model.roi_heads.has_mask()
        self.parameters = sum(p.numel() for p in self.model.parameters())

    def save(self, path):
        state = self.model.state_dict()
        if self.file_format == "legacy":
            state = collections.OrderedDict((name_of_2019(n), t) for n, t in state.items())
        torch.save(state, path, _use_new_zipfile_serialization=self.file_format == "zip")

    @torch.no_grad()
    def answer(self, pictures, edges):
        transform = self.model.transform
        transform.min_size, transform.max_size = (min(edges),), max(edges)
        tensors = [torch.from_numpy(p).permute(2, 0, 1).float() / 255 for p in pictures]
        grids = []
        keep = lambda module, inputs, out: grids.extend(found.get("masks") for found in out[0])
        hook = self.model.roi_heads.register_forward_hook(keep)
        answers = self.model(tensors)
        hook.remove()
        for a, grid in zip(answers, grids):
            a["labels"] = a["labels"] - 1
            a["grids"] = grid
            if "masks" in a:
                a["masks"] = a["masks"][:, 0]
        return answers


def name_of_2019(name):
    name = name.replace("rpn.head.conv.0.0.", "rpn.head.conv.")
    name = re.sub(r"(fpn\.\w+_blocks\.\d)\.0\.", r"\1.", name)
    return re.sub(r"mask_head\.(\d)\.0\.", lambda m: f"mask_head.mask_fcn{int(m[1]) + 1}.", name)


def r50(kind):
    """torchvision's `maskrcnn_resnet50_fpn` or `fasterrcnn_...` as it builds them for trained weights: frozen batch norm."""

    def build():
        model = kind(
            resnet_fpn_backbone(backbone_name="resnet50", weights=None), num_classes=91, box_score_thresh=0.0
        )
        for module in model.modules():
            if isinstance(module, FrozenBatchNorm2d):
                module.eps = 0.0  # as torchvision does for its weights of COCO
        return model

    return build


def v2(kind):
    return lambda: kind(weights=None, weights_backbone=None, num_classes=91, box_score_thresh=0.0)


def of_depth(depth):
    return lambda: detection.MaskRCNN(
        resnet_fpn_backbone(backbone_name=depth, weights=None), num_classes=91, box_score_thresh=0.0
    )


def shallow(depth):
    return [('backbone = "resnet50"', f'backbone = "{depth}"'), (re.compile("batch_norm_eps = 0 .*\n"), "")]


# --------------------------------------------------------------------------------------------------------- detectron2


class Detectron2(nn.Module):
    """detectron2's `mask_rcnn_R_50_FPN` from its published configuration, of torchvision's layers and ops."""

    recipe = "coco-detectron2-resnet50"
    source = "detectron2"
    suffix = ".pkl"
    masks = True
    edits = ()
    CLASSES = 80
    MEAN = torch.tensor([103.53, 116.28, 123.675])  # blue, green, red; of 255
    STRIDES = [4, 8, 16, 32, 64]
    CLAMP = math.log(1000 / 16)

    def __init__(self, name, seed=1):
        super().__init__()
        self.name, self.seed = name, seed

    def make(self, shown):
        k = self.CLASSES
        self.backbone = resnet_fpn_backbone(backbone_name="resnet50", weights=None)
        for stage in range(2, 5):
            block = getattr(self.backbone.body, f"layer{stage}")[0]
            block.conv1.stride, block.conv2.stride = (2, 2), (1, 1)
        conv = lambda: nn.Conv2d(256, 256, 3, padding=1)
        self.rpn_conv, self.rpn_logits, self.rpn_deltas = conv(), nn.Conv2d(256, 3, 1), nn.Conv2d(256, 12, 1)
        self.fc1, self.fc2 = nn.Linear(256 * 49, 1024), nn.Linear(1024, 1024)
        self.cls_score, self.bbox_pred = nn.Linear(1024, k + 1), nn.Linear(1024, 4 * k)
        self.mask_convs = nn.ModuleList(conv() for _ in range(4))
        self.deconv, self.mask_fcn_logits = nn.ConvTranspose2d(256, 256, 2, 2), nn.Conv2d(256, k, 1)
        self.eval()
        spreads = SPREADS.copy()
        SPREADS[:0] = [("rpn_logits", 2.0), ("rpn_deltas", 0.1), ("bbox_pred", 1.0)]
        settle(self, lambda: self.answer(shown, shown[0].shape[:2]), self.seed)
        SPREADS[:] = spreads
        self.parameters = sum(p.numel() for p in self.parameters_list())

    def parameters_list(self):
        return list(nn.Module.parameters(self))

    def save(self, path):
        model = {}

        def layer(ours, theirs):
            for leaf in ["weight", "bias"]:
                if getattr(ours, leaf, None) is not None:
                    model[f"{theirs}.{leaf}"] = getattr(ours, leaf)

        def normed(conv, norm, theirs):
            layer(conv, theirs)
            for leaf in ["weight", "bias", "running_mean", "running_var"]:
                model[f"{theirs}.norm.{leaf}"] = getattr(norm, leaf)

        body, fpn = self.backbone.body, self.backbone.fpn
        normed(body.conv1, body.bn1, "backbone.bottom_up.stem.conv1")
        for stage in range(1, 5):
            for i, block in enumerate(getattr(body, f"layer{stage}")):
                name = f"backbone.bottom_up.res{stage + 1}.{i}"
                for n in (1, 2, 3):
                    normed(getattr(block, f"conv{n}"), getattr(block, f"bn{n}"), f"{name}.conv{n}")
                if block.downsample is not None:
                    normed(*block.downsample, f"{name}.shortcut")
            layer(fpn.inner_blocks[stage - 1][0], f"backbone.fpn_lateral{stage + 1}")
            layer(fpn.layer_blocks[stage - 1][0], f"backbone.fpn_output{stage + 1}")
            layer(self.mask_convs[stage - 1], f"roi_heads.mask_head.mask_fcn{stage}")
        layer(self.rpn_conv, "proposal_generator.rpn_head.conv")
        layer(self.rpn_logits, "proposal_generator.rpn_head.objectness_logits")
        layer(self.rpn_deltas, "proposal_generator.rpn_head.anchor_deltas")
        layer(self.fc1, "roi_heads.box_head.fc1")
        layer(self.fc2, "roi_heads.box_head.fc2")
        layer(self.cls_score, "roi_heads.box_predictor.cls_score")
        layer(self.bbox_pred, "roi_heads.box_predictor.bbox_pred")
        layer(self.deconv, "roi_heads.mask_head.deconv")
        layer(self.mask_fcn_logits, "roi_heads.mask_head.predictor")
        arrays = {name: t.detach().numpy() for name, t in model.items()}
        with open(path, "wb") as file:
            pickle.dump({"model": arrays, "__author__": "Detectron2 Model Zoo"}, file)

    @torch.no_grad()
    def answer(self, pictures, edges):
        shortest, longest = min(edges), max(edges)
        inputs = []
        for picture in pictures:
            h, w = picture.shape[:2]
            scale = shortest / min(h, w)
            new = [h * scale, w * scale]
            if max(new) > longest:
                new = [side * (longest / max(new)) for side in new]
            nh, nw = (int(side + 0.5) for side in new)
            bgr = Image.fromarray(np.ascontiguousarray(picture[:, :, ::-1])).resize((nw, nh), Image.BILINEAR)
            inputs.append((torch.from_numpy(np.array(bgr)).float() - self.MEAN).permute(2, 0, 1))
        size = inputs[0].shape[-2:]
        h, w = resized(size)
        x = torch.stack([F.pad(i, (0, w - size[1], 0, h - size[0])) for i in inputs])
        features = list(self.backbone(x).values())
        heads = []
        for f in features:
            t = F.relu(self.rpn_conv(f))
            heads.append((self.rpn_logits(t), self.rpn_deltas(t)))
        return [self.one(i, features, heads, size, p.shape[:2]) for i, p in enumerate(pictures)]

    def anchors(self, level, h, w):
        side = 32.0 * 2**level
        cell = []
        for ratio in (0.5, 1.0, 2.0):
            aw = math.sqrt(side * side / ratio)
            ah = ratio * aw
            cell.append([-aw / 2, -ah / 2, aw / 2, ah / 2])
        ys, xs = torch.meshgrid(
            torch.arange(h, dtype=torch.float32), torch.arange(w, dtype=torch.float32), indexing="ij"
        )
        shifts = torch.stack([xs, ys, xs, ys], -1).reshape(-1, 1, 4) * self.STRIDES[level]
        return (shifts + torch.tensor(cell)).reshape(-1, 4)

    def decode(self, deltas, boxes, weights):
        wx, wy, ww, wh = weights
        widths, heights = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
        cx, cy = boxes[:, 0] + 0.5 * widths, boxes[:, 1] + 0.5 * heights
        dx, dy = deltas[:, 0::4] / wx, deltas[:, 1::4] / wy
        dw = torch.clamp(deltas[:, 2::4] / ww, max=self.CLAMP)
        dh = torch.clamp(deltas[:, 3::4] / wh, max=self.CLAMP)
        x, y = dx * widths[:, None] + cx[:, None], dy * heights[:, None] + cy[:, None]
        pw, ph = torch.exp(dw) * widths[:, None], torch.exp(dh) * heights[:, None]
        return torch.stack([x - 0.5 * pw, y - 0.5 * ph, x + 0.5 * pw, y + 0.5 * ph], -1).reshape(deltas.shape)

    def pool(self, features, index, boxes, side):
        areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
        levels = torch.floor(4 + torch.log2(torch.sqrt(areas) / 224 + 1e-8)).clamp(2, 5).long() - 2
        out = torch.zeros(len(boxes), 256, side, side)
        for level in range(4):
            at = torch.nonzero(levels == level)[:, 0]
            rois = torch.cat([torch.zeros(len(at), 1), boxes[at]], 1)
            out[at] = roi_align(
                features[level][index : index + 1], rois, side, 1 / self.STRIDES[level], sampling_ratio=0, aligned=True
            )
        return out

    def one(self, index, features, heads, size, source):
        found = []
        for level, (logits, deltas) in enumerate(heads):
            _, a, h, w = logits.shape
            scores = logits[index].permute(1, 2, 0).reshape(-1)
            deltas = deltas[index].reshape(a, 4, h, w).permute(2, 3, 0, 1).reshape(-1, 4)
            scores, best = scores.topk(min(1000, len(scores)))
            boxes = self.decode(deltas[best], self.anchors(level, h, w)[best], (1, 1, 1, 1))
            found.append((boxes, scores, torch.full_like(scores, level)))
        boxes, scores, levels = (torch.cat(parts) for parts in zip(*found))
        boxes = clip_boxes_to_image(boxes, size)
        full = ((boxes[:, 2] - boxes[:, 0]) > 0) & ((boxes[:, 3] - boxes[:, 1]) > 0)
        boxes, scores, levels = boxes[full], scores[full], levels[full]
        proposals = boxes[batched_nms(boxes, scores, levels, 0.7)[:1000]]
        x = self.pool(features, index, proposals, 7).flatten(1)
        x = F.relu(self.fc2(F.relu(self.fc1(x))))
        scores = F.softmax(self.cls_score(x), -1)[:, :-1]
        boxes = self.decode(self.bbox_pred(x), proposals, (10, 10, 5, 5)).reshape(-1, 4)
        boxes = clip_boxes_to_image(boxes, size).reshape(len(proposals), -1, 4)
        rows, labels = torch.nonzero(scores > 0, as_tuple=True)
        boxes, scores = boxes[rows, labels], scores[rows, labels]
        keep = batched_nms(boxes, scores, labels, 0.5)[:100]
        boxes, scores, labels = boxes[keep], scores[keep], labels[keep]
        x = self.pool(features, index, boxes, 14)
        for conv in self.mask_convs:
            x = F.relu(conv(x))
        logits = self.mask_fcn_logits(F.relu(self.deconv(x)))
        masks = torch.sigmoid(logits[torch.arange(len(labels)), labels])
        back = torch.tensor([source[1] / size[1], source[0] / size[0]] * 2)
        boxes = boxes * back
        # detectron2's own paste is another; the grids are what is compared.
        masks = masks[:, None]
        pasted = paste_masks_in_image(masks, boxes, source)[:, 0]
        return {"boxes": boxes, "scores": scores, "labels": labels, "masks": pasted, "grids": masks}


# ----------------------------------------------------------------------------------------------------------- pictures


def synthetic(size, seed):
    """Gradients, discs, boxes and noise."""
    w, h = size
    r = np.random.default_rng(seed)
    y, x = np.mgrid[:h, :w].astype(np.float32)
    out = np.stack([x / w * r.uniform(50, 250), y / h * r.uniform(50, 250), (x + y) / (w + h) * 255], -1)
    for _ in range(40):
        cx, cy, size_px = r.uniform(0, w), r.uniform(0, h), r.uniform(0.01, 0.25) * min(w, h)
        inside = (abs(x - cx) < size_px) & (abs(y - cy) < size_px * r.uniform(0.4, 2))
        if r.random() < 0.5:
            inside = (x - cx) ** 2 + (y - cy) ** 2 < size_px**2
        out[inside] = r.uniform(0, 255, 3)
    return np.clip(out + r.normal(0, 6, out.shape), 0, 255).astype(np.uint8)


def pictures(size, count):
    """Photographs where there are any, and one drawn picture."""
    folder = pathlib.Path(os.environ.get("MASKCAST_DATA", "")) / "coco_permissive" / "val2017"
    photographs = sorted(folder.glob("*.jpg"))[: count + 2]
    out = []
    for i in range(count):
        if i == 1 or i >= len(photographs):
            out.append(synthetic(size, i))
        else:
            picture = Image.open(photographs[i]).convert("RGB").resize(size, Image.BICUBIC)
            out.append(np.array(picture))
    return out


# ------------------------------------------------------------------------------------------------------------ program


class Program:
    def __init__(self, path, folder):
        self.path, self.folder = path, folder

    def call(self, *arguments):
        done = subprocess.run([self.path, *map(str, arguments)], capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{self.path} {' '.join(map(str, arguments))}\n{done.stderr}")

    def engine(self, reference):
        """Imports the reference's checkpoint. -> the recipe as imported"""
        text = (REPOSITORY / "engines" / f"{reference.recipe}.toml").read_text()
        for old, new in reference.edits:
            text, count = re.subn(old if isinstance(old, re.Pattern) else re.escape(old), new, text)
            assert count == 1, f"{reference.recipe}: {old} {count} times"
        recipe = self.folder / f"{reference.name}.toml"
        recipe.write_text(text.replace("shortest_edge_px = 800", "shortest_edge_px = 320"))
        checkpoint = self.folder / f"{reference.name}{reference.suffix}"
        reference.save(checkpoint)
        out = self.folder / "engine"
        self.call("engine", "import", "--from", reference.source, checkpoint, "--recipe", recipe, "--out", out)
        checkpoint.unlink()
        return out / f"{reference.name}.toml"

    def sized(self, recipe, edges):
        """The engine with another size, and without its self-test, which belongs to the old one."""
        text = recipe.read_text()
        for key, value in [("shortest_edge_px", min(edges)), ("longest_edge_px", max(edges))]:
            text, count = re.subn(rf"{key} = \d+", f"{key} = {value}", text)
            assert count == 1, key
        text = re.sub(r"self_test = .*\n", "", text)
        path = recipe.with_name("sized.toml")
        path.write_text(text)
        return path

    def answers(self, recipe, images, *arguments):
        out = self.folder / "answers.json"
        self.call("segment", "--engine", recipe, "--score-threshold", 0, "--json", out, *arguments, *images)
        answers = []
        for picture in json.loads(out.read_text()):
            found = picture["instances"]
            answers.append(
                {
                    "boxes": np.array([i["box"] for i in found], np.float64).reshape(-1, 4),
                    "scores": np.array([i["score"] for i in found], np.float64),
                    "labels": np.array([i["class_id"] for i in found], np.int64),
                    "masks": [i["mask"] for i in found],
                }
            )
        return answers


# ---------------------------------------------------------------------------------------------------------- comparison


def overlap(rle, values, grid, ours, theirs):
    """-> IoU (1 when both are empty), whether the library's grid had to be pasted into our box, and of the pixels that
    differ the one farthest from one half (None: none differs)."""
    moved = whole_edges(ours) != whole_edges(theirs)
    if moved:
        box = torch.tensor(ours, dtype=torch.float32)[None]
        values = paste_masks_in_image(grid[None], box, tuple(values.shape))[0, 0]
    values = values.numpy()
    got, want = coco.decode(rle).astype(bool), values > 0.5
    different = got != want
    union = np.count_nonzero(got | want)
    iou = 1.0 - np.count_nonzero(different) / union if union else 1.0
    return iou, moved, float(np.abs(values[different] - 0.5).max()) if different.any() else None


def whole_edges(box):
    """The paste rule's whole pixels: the box grown by 30 / 28 about its middle, cut off."""
    b = torch.tensor(np.asarray(box), dtype=torch.float32)
    middle, half = (b[2:] + b[:2]) * 0.5, (b[2:] - b[:2]) * 0.5 * (30 / 28)
    return torch.cat([middle - half, middle + half]).to(torch.int64).tolist()


def compare(ours, reference, has_masks, lenient=False):
    """One picture. `lenient`: partners by class and place alone."""
    boxes, scores, labels = (reference[k].numpy().astype(np.float64) for k in ("boxes", "scores", "labels"))
    free, pairs, missing = set(range(len(ours["scores"]))), [], []
    for i in range(len(scores)):
        box_gap = np.abs(ours["boxes"] - boxes[i]).max(1) if len(ours["boxes"]) else np.zeros(0)
        score_gap = np.abs(ours["scores"] - scores[i])
        fits = [
            j
            for j in free
            if ours["labels"][j] == labels[i]
            and (box_gap[j] <= 4 if lenient else box_gap[j] <= 0.5 and score_gap[j] <= 1e-2)
        ]
        if not fits:
            missing.append(i)
            continue
        j = i if i in fits and not lenient else min(fits, key=lambda j: (box_gap[j], score_gap[j]))
        free.remove(j)
        pairs.append((i, j, box_gap[j], score_gap[j]))
    # Where two come in the other order, the reference's scores must tie.
    swaps, untied = 0, 0
    for a, (i, j, *_) in enumerate(pairs):
        for i2, j2, *_ in pairs[a + 1 :]:
            if (i < i2) != (j < j2):
                swaps += 1
                untied += abs(scores[i] - scores[i2]) >= TIE
    overlaps, fill = [], []
    if has_masks:
        for i, j, *_ in pairs:
            values, grid = reference["masks"][i], reference["grids"][i]
            # Another rule or precision keeps the library's own box.
            box = boxes[i] if lenient else ours["boxes"][j]
            overlaps.append(overlap(ours["masks"][j], values, grid, box, boxes[i]))
            fill.append(float((values > 0.5).sum()) / max(1.0, area(boxes[i])))
    below = [(iou, far) for iou, _, far in overlaps if iou < IOU]
    return {
        "detections": len(scores),
        "matched": len(pairs),
        "missing": [(int(labels[i]), round(float(scores[i]), 6), boxes[i].round(2).tolist()) for i in missing],
        "extra": [(int(ours["labels"][j]), float(ours["scores"][j]), ours["boxes"][j].round(2).tolist()) for j in sorted(free)],
        "box": max((p[2] for p in pairs), default=0.0),
        "score": max((p[3] for p in pairs), default=0.0),
        "ious": [iou for iou, *_ in overlaps],
        "moved": sum(moved for _, moved, _ in overlaps),
        "halves": sum(far <= HALF for _, far in below),
        "unlike": [(round(float(iou), 5), far) for iou, far in below if far > HALF],
        "swaps": swaps,
        "untied": untied,
        "fill": float(np.mean(fill)) if fill else 0.0,
        "classes": len(set(labels.tolist())),
        "spread": (float(scores.min()), float(scores.max())) if len(scores) else (0.0, 0.0),
    }


def area(b):
    return max(0.0, b[2] - b[0]) * max(0.0, b[3] - b[1])


def past_the_bars(r):
    return bool(
        r["missing"]
        or r["extra"]
        or r["untied"]
        or r["box"] > BOX_PX
        or r["score"] > SCORE
        or r["unlike"]
    )


HEADER = "| model | size | batch | detections | worst box px | worst score | worst IoU | mean IoU | swaps | edges | halves |"


def row(name, size, batch, results, note=""):
    ious = [i for r in results for i in r["ious"]]
    masks = f"{min(ious):.5f} | {np.mean(ious):.5f}" if ious else "- | -"
    total = lambda key: sum(r[key] for r in results)
    matched, count = total("matched"), total("detections")
    detections = str(count) if matched == count else f"{matched} of {count}"
    return (
        f"| {name}{note} | {size[0]}x{size[1]} | {batch} | {detections} | {max(r['box'] for r in results):.5f} "
        f"| {max(r['score'] for r in results):.1e} | {masks} "
        f"| {total('swaps')} | {total('moved')} | {total('halves')} |"
    )


# --------------------------------------------------------------------------------------------------------------- cases


def references():
    return [
        (Torchvision("maskrcnn_resnet50_fpn", r50(detection.MaskRCNN), "coco-resnet50", file_format="legacy"), IDENTITY),
        (Torchvision("maskrcnn_resnet50_fpn_v2", v2(detection.maskrcnn_resnet50_fpn_v2), "coco-resnet50-v2"), IDENTITY),
        (
            Torchvision("fasterrcnn_resnet50_fpn", r50(detection.FasterRCNN), "coco-faster-resnet50", file_format="legacy"),
            IDENTITY,
        ),
        (
            Torchvision("fasterrcnn_resnet50_fpn_v2", v2(detection.fasterrcnn_resnet50_fpn_v2), "coco-faster-resnet50-v2"),
            IDENTITY,
        ),
        (Torchvision("maskrcnn_resnet18", of_depth("resnet18"), "coco-resnet50", shallow("resnet18")), IDENTITY),
        (Torchvision("maskrcnn_resnet34", of_depth("resnet34"), "coco-resnet50", shallow("resnet34")), IDENTITY[:1]),
        (Torchvision("maskrcnn_resnet101", of_depth("resnet101"), "coco-resnet50", shallow("resnet101")), IDENTITY[:1]),
        (Detectron2("detectron2_resnet50"), [(640, 480)]),
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--maskcast", default="target/release/maskcast")
    parser.add_argument("--only", default="", help="models whose name, with a blank after it, contains this")
    parser.add_argument("--sizes", default="", help="sizes that contain this")
    parser.add_argument("--quick", action="store_true", help="320x320 alone, one picture")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows, informative, failed = [], [], 0
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        program = Program(arguments.maskcast, folder)
        for reference, sizes in references():
            if arguments.only not in (reference.name + " "):
                continue
            began = time.monotonic()
            reference.seed = arguments.seed
            reference.make(pictures((416, 320), 2))
            engine = program.engine(reference)
            print(f"{reference.name}: {reference.parameters} parameters, imported after {time.monotonic() - began:.0f} s", flush=True)
            plan = [(size, size, "") for size in sizes]
            if sizes == IDENTITY or reference.source == "detectron2":
                plan.append(((640, 480), (800, 1333), ", resized"))
            for size, edges, note in plan[:1] if arguments.quick else plan:
                if arguments.sizes not in f"{size[0]}x{size[1]}{note}":
                    continue
                began = time.monotonic()
                shown = pictures(size, 1 if arguments.quick else 3)
                paths = []
                for i, picture in enumerate(shown):
                    paths.append(folder / f"{i}.png")
                    Image.fromarray(picture).save(paths[-1])
                recipe = program.sized(engine, edges)
                whole = reference.answer(shown, edges)
                expected = {len(shown): whole}
                if size != IDENTITY[2]:  # the large one costs minutes
                    expected[1] = whole[:1]
                for batch, answers in expected.items():
                    ours = program.answers(recipe, paths[:batch], "--precision", "f32", "--paste", "torchvision", "--batch", batch)
                    results = [compare(o, a, reference.masks) for o, a in zip(ours, answers, strict=True)]
                    rows.append(row(reference.name, size, batch, results, note))
                    print(rows[-1], flush=True)
                    for i, r in enumerate(results):
                        print(
                            f"    picture {i}: {r['classes']} classes, scores {r['spread'][0]:.3f} to {r['spread'][1]:.3f},"
                            f" masks fill {r['fill']:.2f} of their boxes",
                            flush=True,
                        )
                        if past_the_bars(r):
                            failed += 1
                            print(
                                f"    PAST A BAR: {len(r['missing'])} missing {r['missing'][:3]}, {len(r['extra'])} extra"
                                f" {r['extra'][:3]}, {r['untied']} untied swaps, masks {r['unlike'][:5]}"
                            )
                if reference.masks and size == (640, 480) and not note:
                    informative += information(program, recipe, reference, paths[0], expected[1][0], size)
                print(f"    {time.monotonic() - began:.0f} s", flush=True)
    separator = "|---|---|---|---|---|---|---|---|---|---|---|"
    print("\n".join(["", HEADER, separator, *rows, "", "Without a bar:", "", HEADER, separator, *informative]))
    sys.exit(1 if failed else 0)


def information(program, recipe, reference, path, answer, size):
    """What other choices of ours change: the wire's own paste rule, and bf16."""
    found = {
        "the wire's paste": program.answers(recipe, [path], "--precision", "f32")[0],
        "bf16": program.answers(recipe, [path], "--precision", "bf16", "--paste", "torchvision")[0],
    }
    return [
        row(reference.name, size, 1, [compare(o, answer, True, lenient=True)], f", {what}") for what, o in found.items()
    ]


if __name__ == "__main__":
    main()
