"""Goldens of `src/ops` from torchvision, of run lengths from pycocotools: tests/data/ops/*.json. Small, so that they can be read.

    python tests/oracle/ops_goldens.py        needs torch, torchvision, pycocotools; the versions used are in each file

Inputs are stored, or, where they are large, come from `noise`, which the Rust tests have too. Boxes are flat lists of x0, y0,
x1, y1; sizes are [width, height].
"""
import json
import pathlib
from importlib.metadata import version

import numpy as np
import torch
import torchvision
from pycocotools import mask as coco_mask
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads, paste_masks_in_image
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead, concat_box_prediction_layers
from torchvision.ops import MultiScaleRoIAlign, boxes as box_ops

OUT = pathlib.Path(__file__).parents[1] / "data" / "ops"
MADE_WITH = f"torch {torch.__version__}, torchvision {torchvision.__version__}, pycocotools {version('pycocotools')}"


def noise(count, seed):
    """f32 in -1..1 from a counter (PCG's output function)."""
    x = np.arange(count, dtype=np.uint32) * np.uint32(747796405) + np.uint32(seed * 2891336453 % 2**32) + np.uint32(1)
    x = ((x >> ((x >> np.uint32(28)) + np.uint32(4))) ^ x) * np.uint32(277803737)
    x = (x >> np.uint32(22)) ^ x
    return torch.from_numpy((x >> np.uint32(8)).astype(np.float32) / np.float32(8388608) - np.float32(1))


def flat(tensor):
    """Shortest decimals that give the same f32 again."""
    return [float(np.format_float_positional(v, unique=True)) if v.dtype == np.float32 else int(v) for v in tensor.reshape(-1).numpy()]


def write(name, **fields):
    fields["made_with"] = MADE_WITH
    (OUT / name).write_text(json.dumps(fields, separators=(",", ":")) + "\n")
    print(name, (OUT / name).stat().st_size)


def some_boxes(count, width, height, seed, largest=0.6):
    r = (noise(4 * count, seed).view(count, 4) + 1) / 2
    x, y = r[:, 0] * width, r[:, 1] * height
    return torch.stack([x, y, x + 1 + r[:, 2] * largest * width, y + 1 + r[:, 3] * largest * height], 1)


def anchors():
    sizes, ratios, network = [16, 48, 100], (0.5, 1.0, 2.0), (96, 65)
    grids = [(24, 17), (12, 9), (6, 5)]                            # odd sizes: the stride is rounded down
    generator = AnchorGenerator(tuple((s,) for s in sizes), (ratios,) * 3)
    images = ImageList(torch.zeros(1, 3, network[1], network[0]), [(network[1], network[0])])
    found = generator(images, [torch.zeros(1, 1, h, w) for w, h in grids])[0]
    levels = [{"grid": g, "sizes": [s]} for g, s in zip(grids, sizes)]
    write("anchors.json", network=network, ratios=ratios, levels=levels, anchors=[int(v) for v in flat(found)])


def box_deltas():
    references, deltas = some_boxes(40, 400, 300, 1), 3 * noise(160, 2).view(40, 4)
    deltas[0, 2:] = 90.0
    decode = lambda weights: BoxCoder(weights).decode_single(deltas, references)
    write("box_deltas.json", references=flat(references), deltas=flat(deltas), rpn=flat(decode((1.0,) * 4)),
          heads=flat(decode((10.0, 10.0, 5.0, 5.0))))


def nms():
    boxes, scores = some_boxes(150, 200, 150, 3), (noise(150, 4) + 1) / 2
    scores[10:20] = scores[5]                                      # ties
    boxes[30] = boxes[31]
    groups = torch.arange(150) % 4
    cases = []
    for t in (0.0, 0.3, 0.5, 0.7, 1.0):
        grouped = box_ops._batched_nms_coordinate_trick(boxes, scores, groups, t)   # its order of ties is stable
        assert set(grouped.tolist()) == set(box_ops._batched_nms_vanilla(boxes, scores, groups, t).tolist())
        cases.append({"iou_threshold": t, "keep": flat(box_ops.nms(boxes, scores, t)), "keep_grouped": flat(grouped)})
    write("nms.json", boxes=flat(boxes), scores=flat(scores), groups=flat(groups), cases=cases)


def proposals():
    sizes, ratios, network, picture = [16, 32, 64], (0.5, 1.0, 2.0), (160, 128), (160, 113)
    grids = [(40, 32), (20, 16), (10, 8)]
    settings = {"pre_nms_top_n": 120, "post_nms_top_n": 100, "iou_threshold": 0.7}
    top = lambda n: {"training": n, "testing": n}
    rpn = RegionProposalNetwork(AnchorGenerator(tuple((s,) for s in sizes), (ratios,) * 3), RPNHead(1, 3), 0.7, 0.3, 256, 0.5,
                                top(settings["pre_nms_top_n"]), top(settings["post_nms_top_n"]), settings["iou_threshold"]).eval()
    logits = [4 * from_channels_last(noise(3 * h * w, 2 * i), 3, w, h) for i, (w, h) in enumerate(grids)]
    deltas = [0.75 * from_channels_last(noise(12 * h * w, 2 * i + 1), 12, w, h) for i, (w, h) in enumerate(grids)]
    rpn.head.forward = lambda features: (logits, deltas)
    images = ImageList(torch.zeros(1, 3, network[1], network[0]), [(picture[1], picture[0])])
    found, _ = rpn(images, {str(i): l for i, l in enumerate(logits)})
    objectness, codes = concat_box_prediction_layers(logits, deltas)
    decoded = rpn.box_coder.decode(codes, rpn.anchor_generator(images, logits)).view(1, -1, 4)
    _, scores = rpn.filter_proposals(decoded, objectness, images.image_sizes, [3 * w * h for w, h in grids])
    assert len(found[0]) == settings["post_nms_top_n"], len(found[0])
    write("proposals.json", network=network, picture=picture, grids=grids, anchor_sizes=sizes, anchor_ratios=ratios, **settings,
          boxes=flat(found[0]), scores=flat(scores[0]))


def channels_last(tensor):
    """[N, C, H, W] -> the values of [N, H, W, C]."""
    return tensor.permute(0, 2, 3, 1).contiguous()


def from_channels_last(values, channels, width, height):
    return values.view(1, height, width, channels).permute(0, 3, 1, 2).contiguous()


def roi_align():
    channels, grids = 2, [(40, 32), (20, 16), (10, 8), (5, 4)]
    maps = {str(i): from_channels_last(noise(channels * w * h, i), channels, w, h) for i, (w, h) in enumerate(grids)}
    rois = some_boxes(14, 150, 120, 9, largest=0.9)
    rois[0] = torch.tensor([0.0, 0.0, 160.0, 128.0])
    rois[1] = torch.tensor([155.0, 120.0, 160.0, 128.0])           # at the corner: clamped samples
    rois[2] = torch.tensor([30.0, 30.0, 30.0, 30.0])               # no area: sides of one feature px, or none
    rois[3] = torch.tensor([-30.0, -20.0, 190.0, 150.0])           # beyond the map: samples of zero
    rois[4] = torch.tensor([8.0, 8.0, 8.0 + 56.0, 8.0 + 56.0])     # on the border between two levels of canonical scale 112
    cases = []
    for side, ratio, scale, aligned in ((7, 2, 224, False), (14, 2, 112, False), (3, 3, 56, False), (2, 1, 28, False),
                                        (3, -1, 112, False), (3, -1, 112, True), (5, 2, 224, True), (7, -1, 28, True)):
        pool = MultiScaleRoIAlign(list(maps), side, ratio, canonical_scale=scale, canonical_level=4)
        pooled = pool(maps, [rois], [(128, 160)])
        if aligned:                                                # the class has no such setting: level by level
            for level, (features, spatial_scale) in enumerate(zip(maps.values(), pool.scales)):
                here = torch.where(pool.map_levels([rois]) == level)[0]
                pooled[here] = torchvision.ops.roi_align(features, [rois[here]], side, spatial_scale, ratio, aligned=True)
        cases.append({"output_side": side, "sampling_ratio": ratio, "canonical_scale": scale, "aligned": aligned,
                      "pooled": [round(v, 6) for v in flat(channels_last(pooled))]})
    write("roi_align.json", channels=channels, grids=grids, rois=flat(rois), cases=cases)


def roi_pool():
    channels, grid, scale = 2, (20, 14), 1 / 16
    features = from_channels_last(noise(channels * grid[0] * grid[1], 5), channels, *grid)
    rois = some_boxes(12, 300, 210, 13, largest=0.8)
    rois[0] = torch.tensor([0.0, 0.0, 319.0, 223.0])
    rois[1] = torch.tensor([40.0, 40.0, 40.0, 40.0])               # 2.5 feature px: halves go away from zero
    rois[2] = torch.tensor([-90.0, -60.0, 50.0, 40.0])             # cells beyond the map: 0
    cases = []
    for side in (7, 6, 2):
        pooled = torchvision.ops.roi_pool(features, [rois], side, scale)
        cases.append({"output_side": side, "pooled": flat(channels_last(pooled))})
    write("roi_pool.json", channels=channels, grid=grid, spatial_scale=scale, rois=flat(rois), cases=cases)


def paste_masks():
    """torchvision's own paste rule; set pixels as pycocotools counts of the whole picture."""
    side, frame = 14, (64, 48)
    at = (torch.arange(side) + 0.5) / side * 2 - 1
    boxes = (some_boxes(24, 60, 44, 21, largest=0.8) * 8).round() / 8
    boxes[0] = torch.tensor([10.25, 5.5, 10.25, 5.5])              # no area
    boxes[1] = torch.tensor([-20.5, -10.75, 80.0, 60.0])           # beyond the picture
    boxes[2] = torch.tensor([0.0, 0.0, 64.0, 48.0])
    boxes[3] = torch.tensor([50.0, 40.0, 63.9, 47.9])
    masks = noise(24 * side * side, 22).view(24, 1, side, side)
    masks = (1.2 - at[None, :] ** 2 - at[:, None] ** 2 + 0.5 * masks).clamp(0, 1)
    masks[4] = 1.0
    masks = (masks * 1000).round() / 1000                          # short in the file
    pasted = paste_masks_in_image(masks, boxes, (frame[1], frame[0]))[:, 0] > 0.5
    counts = [coco_mask.encode(np.asfortranarray(m.numpy().astype(np.uint8)))["counts"].decode() for m in pasted]
    write("paste_masks.json", side=side, frame=frame, boxes=flat(boxes), masks=flat(masks), counts=counts)


def detections():
    classes, picture, count = 4, (150, 110), 60
    settings = {"score_threshold": 0.05, "iou_threshold": 0.5, "max_detections": 40}
    heads = RoIHeads(None, None, None, 0.5, 0.5, 512, 0.25, None, settings["score_threshold"], settings["iou_threshold"],
                     settings["max_detections"])
    proposals = some_boxes(count, 150, 110, 11)
    proposals = box_ops.clip_boxes_to_image(proposals, (110, 150))
    logits, deltas = 3 * noise(count * classes, 12).view(count, classes), 2 * noise(count * classes * 4, 13).view(count, -1)
    deltas[0, 6] = -90.0                                           # nothing left: dropped
    boxes, scores, labels = heads.postprocess_detections(logits, deltas, [proposals], [(110, 150)])
    assert len(boxes[0]) == settings["max_detections"]
    write("detections.json", picture=picture, **settings, proposals=flat(proposals), logits=flat(logits), deltas=flat(deltas),
          boxes=flat(boxes[0]), scores=flat(scores[0]), labels=flat(labels[0]))


def rle():
    """Bitmaps in the top left corner of a frame, as rows of text, and the counts of the whole frame."""
    cases = []
    for seed, (width, height, right, below) in enumerate([(1, 1, 0, 0), (9, 7, 0, 0), (12, 5, 3, 0), (7, 16, 0, 4), (20, 20, 40, 30)]):
        rough = noise(width * height, seed).view(height, width).numpy()
        mask = (rough + np.roll(rough, 1, 0) > -0.3).astype(np.uint8)
        mask[0, 0] = 1
        frame = np.pad(mask, ((0, below), (0, right)))
        counts = coco_mask.encode(np.asfortranarray(frame))["counts"].decode()
        cases.append({"frame": [width + right, height + below], "rows": ["".join(".#"[v] for v in row) for row in mask], "counts": counts})
    write("rle.json", cases=cases)


if __name__ == "__main__":
    OUT.mkdir(parents=True, exist_ok=True)
    for make in (anchors, box_deltas, nms, proposals, roi_align, roi_pool, detections, paste_masks, rle):
        with torch.no_grad():
            make()
