"""COCO AP of the network at the deployed input, by pycocotools; boxes and masks are rounded and pasted as maskcast does it, so
that `maskcast eval` gives the same figures."""

import contextlib
import io

import numpy as np
import torch
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from .annotations import as_coco
from .dataset import read_rgb
from .model import detect
from .paste import STEPS, lattice, paste, quantised

NAMES = ("mask_ap", "mask_ap50", "box_ap", "box_ap50")
STANDARD = 100  # detections an image and class that COCO counts


def truth_of(pictures, classes):
    """-> pycocotools' COCO of these pictures, classes 1..n."""
    coco = COCO()
    coco.dataset = as_coco(pictures, classes) | {"info": {}}
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def rows_of(image_id, pixels, found):
    """What `detect` found -> COCO result rows. A box with nothing inside the picture is no instance."""
    boxes, scores, labels, masks = (t.cpu().numpy() for t in found)
    height, width = pixels.shape[:2]
    rois = lattice(boxes)
    bounds = rois.clip(0, [width * STEPS, height * STEPS] * 2)
    grids = quantised(masks[:, 0])
    rows = []
    for roi, bound, score, label, grid in zip(rois, bounds, scores.tolist(), labels.tolist(), grids):
        x0, y0, x1, y1 = (bound / STEPS).tolist()
        if x0 >= x1 or y0 >= y1:
            continue
        rle = coco_mask.encode(paste(grid, roi, height, width))
        rle["counts"] = rle["counts"].decode()
        box = [x0, y0, x1 - x0, y1 - y0]
        rows.append({"image_id": image_id, "category_id": label, "bbox": box, "score": score, "segmentation": rle})
    return rows


@torch.no_grad()
def results_of(model, facts, folder, pictures, autocast=False):
    """-> (COCO result rows, ids of pictures that are damaged)."""
    rows, damaged = [], []
    for picture in pictures:
        pixels = read_rgb(folder / picture.file_name, picture.width, picture.height)
        if pixels is None:
            damaged.append(picture.id)
        else:
            rows += rows_of(picture.id, pixels, detect(model, facts, pixels, autocast))
    return rows, damaged


def average_precision(coco, rows, image_ids, most=STANDARD):
    """-> {mask_ap, mask_ap50, box_ap, box_ap50} and the mask AP of each class, of the `most` best detections an image."""
    figures, by_class = dict.fromkeys(NAMES, 0.0), {}
    if not rows:
        return figures, {c["name"]: 0.0 for c in coco.cats.values()}
    with contextlib.redirect_stdout(io.StringIO()):
        found = coco.loadRes(rows)
        for kind, name in (("segm", "mask"), ("bbox", "box")):
            judge = COCOeval(coco, found, kind)
            judge.params.imgIds = image_ids
            judge.params.maxDets = [1, 10, most]
            judge.evaluate()
            judge.accumulate()
            precision = judge.eval["precision"][:, :, :, 0, 2]  # IoU, recall, class
            figures[f"{name}_ap"] = mean_of(precision)
            figures[f"{name}_ap50"] = mean_of(precision[0])
            if kind == "segm":
                for k, category in enumerate(judge.params.catIds):
                    by_class[coco.cats[category]["name"]] = mean_of(precision[:, :, k])
    return figures, by_class


def mean_of(precision):
    """Of the cells that have truth; nan without any."""
    values = precision[precision > -1]
    return float(values.mean()) if len(values) else float("nan")
