"""COCO AP of the network at the deployed input, by pycocotools. The Rust evaluator has the last word; this one steers."""

import contextlib
import io

import cv2
import numpy as np
import torch
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torchvision.models.detection.roi_heads import paste_masks_in_image

from .model import detect

NAMES = ("mask_ap", "mask_ap50", "box_ap", "box_ap50")


@torch.no_grad()
def results_of(model, facts, images, autocast):
    """images: (image_id, path) pairs -> COCO result rows."""
    rows = []
    for image_id, path in images:
        pixels = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        boxes, scores, labels, masks = (t.cpu() for t in detect(model, facts, pixels, autocast))
        if not len(boxes):
            continue
        pasted = (paste_masks_in_image(masks, boxes, pixels.shape[:2])[:, 0] > 0.5).numpy().astype(np.uint8)
        for box, score, label, mask in zip(boxes.tolist(), scores.tolist(), labels.tolist(), pasted):
            rle = coco_mask.encode(np.asfortranarray(mask))
            rle["counts"] = rle["counts"].decode()
            x0, y0, x1, y1 = box
            rows.append(
                {
                    "image_id": image_id,
                    "category_id": label,
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "score": score,
                    "segmentation": rle,
                }
            )
    return rows


def average_precision(coco, rows, image_ids, most=100):
    """-> {mask_ap, mask_ap50, box_ap, box_ap50} and the mask AP of each class, of the `most` best detections an image."""
    if not rows:
        return dict.fromkeys(NAMES, 0.0), {}
    figures, by_class = {}, {}
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


def load_truth(annotations, limit=None):
    """-> (COCO, image ids); the first `limit` images."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(annotations))
    return coco, sorted(coco.imgs)[:limit]
