"""The networks of `parity.py`: torchvision's own detectors, and detectron2's rules made of torchvision's layers and ops.

Random weights answer nothing by themselves, so two pictures set every layer's scale: batch-norm statistics become those of
its activations, and layers without batch norm get outputs of mean 0 and a chosen spread. Scores then spread, deltas move
boxes, and masks are neither empty nor full.
"""

import collections
import math
import pickle
import re

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torchvision.models import detection
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.roi_heads import paste_masks_in_image
from torchvision.ops import FrozenBatchNorm2d, batched_nms, clip_boxes_to_image, roi_align

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


def padded(size, multiple=32):
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
    """detectron2's `mask_rcnn_R_50_FPN` from its published configuration, of torchvision's layers and ops.

    It resizes with the Pillow installed: since 13.0.0 that turns the two passes round for some sizes (tall pictures made
    smaller among them), and ours does not.
    """

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
        h, w = padded(size)
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
