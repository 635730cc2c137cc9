"""A small COCO folder to test with."""

import json

import cv2
import numpy as np


def square(x, y, side):
    return [[x, y, x + side, y, x + side, y + side, x, y + side]]


def write(folder, count=4, size=(96, 64), edit=None):
    """Pictures of one bright square each, category ids 7 and 90. `edit` may change the annotations. -> (JSON file, folder)"""
    width, height = size
    images = folder / "images"
    images.mkdir(exist_ok=True)
    data = {"images": [], "annotations": [], "categories": [{"id": 90, "name": "nut"}, {"id": 7, "name": "bolt"}]}
    for k in range(count):
        pixels = np.full((height, width, 3), 40, np.uint8)
        x, y, side = 4 + 3 * k, 5 + k, 24
        pixels[y : y + side, x : x + side] = (30 * k, 90, 220)
        cv2.imwrite(str(images / f"{k}.png"), pixels)
        data["images"].append({"id": 100 + k, "file_name": f"{k}.png", "width": width, "height": height})
        data["annotations"].append(
            {
                "id": k + 1,
                "image_id": 100 + k,
                "category_id": (7, 90)[k % 2],
                "bbox": [x, y, side, side],
                "area": side * side,
                "iscrowd": 0,
                "segmentation": square(x, y, side),
            }
        )
    if edit:
        edit(data)
    path = folder / "ann.json"
    path.write_text(json.dumps(data))
    return path, images
