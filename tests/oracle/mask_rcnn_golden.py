"""The golden of `model::infer`: torchvision's Mask R-CNN with weights and a picture that Rust generates from the same seeds.

    python tests/oracle/mask_rcnn_golden.py      # writes tests/data/mask_rcnn_golden.json

Made with torch 2.15.0 (CPU) and torchvision 0.29.2. Nothing trained and nothing large is stored: every tensor is
splitmix64 noise seeded by its name, scaled by what its name ends in (`SCALES` here and in
src/model/infer/tests/golden.rs).
"""

import json
from pathlib import Path

import numpy as np
import torch
from torchvision.models import resnet
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.ops import MultiScaleRoIAlign

SALT = 7  # of 40 tried, one with three classes and boxes of every size
CLASSES = 3
PLANES = [24, 32, 40, 48]
WIDTH = 32
REPRESENTATION = 64
SOURCE = (240, 180)  # w, h
RESIZED = (192, 144)
NETWORK = (192, 160)
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def noise(name, count):
    """-> float32 [count], uniform in [-1, 1)."""
    seed = 0xCBF29CE484222325
    for byte in f"{SALT}/{name}".encode():
        seed = (seed ^ byte) * 0x100000001B3 % 2**64
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    return (z >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-23) - np.float32(1)


# end of the name -> (base, scale); the first that fits; scale None = sqrt(6 / fan in)
SCALES = [
    ("layer_blocks.0.0.weight", (0.0, 0.0036)),
    ("layer_blocks.1.0.weight", (0.0, 0.0036)),
    ("layer_blocks.2.0.weight", (0.0, 0.0036)),
    ("layer_blocks.3.0.weight", (0.0, 0.0036)),
    ("rpn.head.cls_logits.weight", (0.0, 0.6)),
    ("rpn.head.bbox_pred.weight", (0.0, 0.08)),
    ("cls_score.weight", (0.0, 0.8)),
    ("box_predictor.bbox_pred.weight", (0.0, 0.5)),
    ("mask_fcn_logits.weight", (0.0, 0.9)),
    ("running_var", (1.0, 0.5)),
    ("running_mean", (0.0, 0.2)),
    ("bn1.weight", (1.0, 0.2)),
    ("bn2.weight", (1.0, 0.2)),
    ("downsample.1.weight", (1.0, 0.2)),
    ("bias", (0.0, 0.1)),
    ("weight", (0.0, None)),
]


def tensor(name, shape):
    base, scale = next(v for ending, v in SCALES if name.endswith(ending))
    if scale is None:
        scale = np.sqrt(6.0 / (shape[0] if "conv5_mask" in name else int(np.prod(shape[1:]))))
    values = np.float32(base) + noise(name, int(np.prod(shape))) * np.float32(scale)
    return torch.from_numpy(values.reshape(shape))


def picture():
    """-> uint8 [h, w, 3]: blocks of 12 x 10 px, each of one colour."""
    w, h = SOURCE
    blocks = noise("picture", 18 * 20 * 3).reshape(18, 20, 3)
    blocks = ((blocks + np.float32(1)) * np.float32(127.5)).astype(np.uint8)
    return np.repeat(np.repeat(blocks, 10, axis=0), 12, axis=1)[:h, :w]


def network():
    body = resnet.resnet18(weights=None)
    body.inplanes = 64
    for i, (planes, stride) in enumerate(zip(PLANES, (1, 2, 2, 2))):
        setattr(body, f"layer{i + 1}", body._make_layer(resnet.BasicBlock, planes, 2, stride=stride))
    backbone = BackboneWithFPN(body, {f"layer{i + 1}": str(i) for i in range(4)}, PLANES, WIDTH)
    pool = lambda side: MultiScaleRoIAlign(["0", "1", "2", "3"], side, 2, canonical_scale=96, canonical_level=4)
    model = MaskRCNN(
        backbone,
        rpn_anchor_generator=AnchorGenerator(((12,), (24,), (48,), (96,), (144,)), ((0.5, 1.0, 2.0),) * 5),
        rpn_pre_nms_top_n_test=300,
        rpn_post_nms_top_n_test=120,
        rpn_nms_thresh=0.5,
        box_roi_pool=pool(7),
        box_head=TwoMLPHead(WIDTH * 49, REPRESENTATION),
        box_predictor=FastRCNNPredictor(REPRESENTATION, CLASSES + 1),
        box_score_thresh=0.3,
        box_nms_thresh=0.5,
        box_detections_per_img=40,
        mask_roi_pool=pool(14),
        mask_head=MaskRCNNHeads(WIDTH, (WIDTH,) * 4, 1),
        mask_predictor=MaskRCNNPredictor(WIDTH, WIDTH, CLASSES + 1),
    ).eval()
    state = {n: tensor(n, tuple(t.shape)) for n, t in model.state_dict().items() if not n.endswith("batches_tracked")}
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected and all(n.endswith("batches_tracked") for n in missing)
    return model


@torch.no_grad()
def main():
    model = network()
    x = torch.from_numpy(picture()).permute(2, 0, 1)[None].float() / 255
    x = torch.nn.functional.interpolate(x, size=RESIZED[::-1], mode="bilinear", align_corners=False)
    x = (x - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    x = torch.nn.functional.pad(x, (0, NETWORK[0] - RESIZED[0], 0, NETWORK[1] - RESIZED[1]))
    features = model.backbone(x)
    proposals, _ = model.rpn(ImageList(x, [RESIZED[::-1]]), features)
    found, _ = model.roi_heads(features, proposals, [RESIZED[::-1]])
    found = found[0]
    scores = found["scores"].tolist()
    print(len(proposals[0]), "proposals,", len(scores), "detections; scores", [round(s, 4) for s in scores])
    print("classes", found["labels"].tolist())
    print("smallest score gap", min(a - b for a, b in zip(scores, scores[1:])))
    rounded = lambda values, digits: [round(float(v), digits) for v in values]
    golden = {
        "features": [
            {"mean": float(f.mean()), "std": float(f.std()), "first": rounded(f.flatten()[:4], 5)}
            for f in list(features.values())[:4]
        ],
        "proposals": [rounded(p, 4) for p in proposals[0][:5].tolist()],
        "proposal_count": len(proposals[0]),
        "detections": [
            {
                "class_id": int(label) - 1,
                "score": round(float(score), 7),
                "box": rounded(box, 5),
                "mask_mean": round(float(mask.mean()), 6),
                "mask_diagonal": rounded(mask[0].diagonal(), 5),
            }
            for label, score, box, mask in zip(found["labels"], found["scores"], found["boxes"], found["masks"])
        ],
    }
    path = Path(__file__).parent.parent / "data" / "mask_rcnn_golden.json"
    path.write_text(json.dumps(golden, indent=1) + "\n")
    print(path.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
