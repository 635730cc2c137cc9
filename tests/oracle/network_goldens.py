"""The goldens of `model::infer::tests::networks`: torchvision's networks in their real sizes, from seeds alone.

    python tests/oracle/network_goldens.py      # writes tests/data/network_goldens.json

Made with torch 2.15.0 (CPU) and torchvision 0.29.2. Weights are the noise of `mask_rcnn_golden.py`. What the file holds of a
network: one scale a layer, with which its outputs have a standard deviation of about 1 (more in the output layers), and
the output layers' biases, with which no class wins everywhere. Then what torchvision answers.

Noise through noise multiplies any rounding, and a RoI moved by 1e-4 px would see something else. Trained networks are
smoother, so: mostly even kernels in pyramid and mask head, residual blocks that change their input a little.
"""

import json
import math
import pathlib

import numpy as np
import torch
from mask_rcnn_golden import noise
from torch import nn
from torchvision.models import detection
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops import FrozenBatchNorm2d

DETECTIONS = 20
# By size, where the first ones have two scores too near each other.
FIRST_PICTURE = {}
BLOCK_PX = 16
# end of a layer's name -> standard deviation of its outputs; these have biases of their own
OUTPUTS = {
    "rpn.head.cls_logits": 2.0,
    "rpn.head.bbox_pred": 0.1,
    "box_predictor.cls_score": 2.5,
    "box_predictor.bbox_pred": 1.0,
    "mask_predictor.mask_fcn_logits": 2.5,
}
NORMS = {"weight": (1.0, 0.2), "bias": (0.0, 0.1), "running_mean": (0.0, 0.2), "running_var": (1.0, 0.5)}
BIAS = 0.1
EVEN = ("layer_blocks", "mask_head", "conv5_mask")
UNEVEN = 0.5
BRANCH = 0.3  # of the last norm's weight in a residual block


def picture(index, size):
    """-> uint8 [h, w, 3]: blocks of one colour each."""
    w, h = size
    rows, columns = -(-h // BLOCK_PX), -(-w // BLOCK_PX)
    blocks = noise(f"picture {index}", rows * columns * 3).reshape(rows, columns, 3)
    blocks = ((blocks + np.float32(1)) * np.float32(127.5)).astype(np.uint8)
    return np.repeat(np.repeat(blocks, BLOCK_PX, axis=0), BLOCK_PX, axis=1)[:h, :w]


def tensors(pictures):
    return [torch.from_numpy(np.ascontiguousarray(p)).permute(2, 0, 1).float() / 255 for p in pictures]


def generate(module, name, leaf, shape, scale, biases, branch_end):
    """One tensor, as the Rust test makes it."""
    values = noise(f"{name}.{leaf}", math.prod(shape))
    if isinstance(module, (FrozenBatchNorm2d, nn.BatchNorm2d)):
        base, scale = NORMS[leaf]
        values = np.float32(base) + values * np.float32(scale)
        if leaf == "weight" and name.endswith(branch_end):
            values = values * np.float32(BRANCH)
    elif leaf == "weight":
        if any(part in name for part in EVEN):
            taps = shape[2] * shape[3]
            even = noise(f"{name}.{leaf} even", len(values) // taps)
            values = np.repeat(even, taps) + values * np.float32(UNEVEN)
        values = values * np.float32(scale)
    elif name in biases:
        values = np.float32(biases[name])
    else:
        values = values * np.float32(BIAS)
    return torch.from_numpy(values.reshape(shape))


@torch.no_grad()
def fill(model, branch_end):
    """Generates every tensor; the layers' scales follow one another as a picture goes through."""
    scales, biases, hooks = {}, {}, []
    parts = [(n, m) for n, m in model.named_modules() if hasattr(m, "weight")]

    def put(module, name, scale):
        for leaf in NORMS:
            tensor = getattr(module, leaf, None)
            if tensor is not None:
                tensor.copy_(generate(module, name, leaf, tuple(tensor.shape), scale, biases, branch_end))

    def hook(name):
        def run(module, inputs, y):
            if name in scales:
                return None
            spread = next((s for end, s in OUTPUTS.items() if name.endswith(end)), None)
            put(module, name, 1.0)
            y = module.forward(*inputs)
            axes = [a for a in range(y.dim()) if a != 1]
            deviation = y.std(axes).mean() if spread else y.std()
            scales[name] = float(f"{(spread or 1.0) / float(deviation):.5g}")
            if spread:
                module.weight.mul_(scales[name])
                module.bias.zero_()
                mean = module.forward(*inputs).mean(axes)
                biases[name] = [round(-float(m), 4) for m in mean]
            put(module, name, scales[name])
            return module.forward(*inputs)

        return run

    for name, module in parts:
        if isinstance(module, (FrozenBatchNorm2d, nn.BatchNorm2d)):
            put(module, name, None)
        else:
            hooks.append(module.register_forward_hook(hook(name)))
    model(tensors([picture(9, (320, 320))]))
    for h in hooks:
        h.remove()
    assert {n for n, m in parts if not hasattr(m, "running_var")} == set(scales)
    return {"branch_end": branch_end, "scales": scales, "biases": biases}


@torch.no_grad()
def answers(model, size, batch):
    model.transform.min_size, model.transform.max_size = (min(size),), max(size)
    first = FIRST_PICTURE.get(size, 0)
    grids = []
    keep = lambda module, inputs, out: grids.extend(found["masks"] for found in out[0])
    hook = model.roi_heads.register_forward_hook(keep)
    found = model(tensors([picture(first + i, size) for i in range(batch)]))
    hook.remove()
    rounded = lambda values, digits: [round(float(v), digits) for v in values]
    pictures = []
    for f, masks in zip(found, grids):
        scores = f["scores"].tolist()
        assert len(scores) == DETECTIONS
        pictures.append(
            [
                {
                    "class_id": int(label) - 1,
                    "score": round(float(score), 6),
                    "box": rounded(box, 3),
                    "mask_mean": round(float(mask.mean()), 5),
                    "mask_diagonal": rounded(mask[0].diagonal()[::4], 4),
                }
                for label, score, box, mask in zip(f["labels"], f["scores"], f["boxes"], masks)
            ]
        )
        print(
            f"  {len(set(f['labels'].tolist()))} classes, scores {scores[-1]:.4f} to {scores[0]:.4f}, smallest gap"
            f" {min(a - b for a, b in zip(scores, scores[1:])):.1e}"
        )
    return {"size": list(size), "first_picture": first, "pictures": pictures}


def main():
    torch.set_num_threads(2)
    settings = dict(num_classes=91, box_score_thresh=0.0, box_detections_per_img=DETECTIONS)
    # Frozen batch norm, as `maskrcnn_resnet50_fpn` has for trained weights.
    v1 = detection.MaskRCNN(resnet_fpn_backbone(backbone_name="resnet50", weights=None), **settings)
    for module in v1.modules():
        if isinstance(module, FrozenBatchNorm2d):
            module.eps = 0.0  # as torchvision does for its weights of COCO
    v2 = detection.maskrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None, **settings)
    small = detection.MaskRCNN(resnet_fpn_backbone(backbone_name="resnet18", weights=None), **settings)
    golden = {}
    for name, model, branch_end, runs in [
        ("resnet50", v1, ".bn3", [((320, 320), 1)]),
        ("resnet50_v2", v2, ".bn3", [((320, 320), 1)]),
        ("resnet18", small, ".bn2", [((320, 320), 1), ((611, 517), 3)]),
    ]:
        model.eval()
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        golden[name] = {"parameters": sum(p.numel() for p in model.parameters()), **fill(model, branch_end)}
        print(name, golden[name]["parameters"])
        golden[name]["runs"] = [answers(model, *run) for run in runs]
    path = pathlib.Path(__file__).parents[1] / "data" / "network_goldens.json"
    path.write_text(json.dumps(golden, separators=(",", ":")).replace('{"class_id"', '\n{"class_id"') + "\n")
    print(path.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
