"""The nuclei photographs as two COCO files: python -m maskcast_training.nuclei FOLDER OUT

FOLDER holds images/NAME.png and labels/NAME.png (uint16, 0 background, k = k-th nucleus: the 2018 Data Science Bowl with its
masks folded into one map). nuclei_validation.txt, beside this file, lists the pictures that are never trained on; the rest is
the training part. Writes OUT/train.json and OUT/val.json.
"""

import json
import sys
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as coco_mask
from tqdm import tqdm

VALIDATION = Path(__file__).with_name("nuclei_validation.txt")
FEWEST_PIXELS = 4  # specks left by a mask that another one covers


def instances(labels):
    """uint16 [h,w] -> a list of (area px, box x y w h, compressed RLE)."""
    found = []
    for k in np.unique(labels[labels > 0]):
        mask = np.asfortranarray(labels == k, dtype=np.uint8)
        rle = coco_mask.encode(mask)
        area = int(coco_mask.area(rle))
        if area >= FEWEST_PIXELS:
            found.append((area, coco_mask.toBbox(rle).tolist(), rle["counts"].decode()))
    return found


def convert(folder, names, path):
    images, annotations = [], []
    for name in tqdm(names, desc=path.name):
        labels = cv2.imread(str(folder / "labels" / name), cv2.IMREAD_UNCHANGED)
        if labels is None or labels.ndim != 2:
            raise SystemExit(f"{folder / 'labels' / name}: expected a label map of one channel")
        h, w = labels.shape
        images.append({"id": len(images) + 1, "file_name": name, "width": w, "height": h})
        for area, box, counts in instances(labels):
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": len(images),
                    "category_id": 1,
                    "area": area,
                    "bbox": box,
                    "iscrowd": 0,
                    "segmentation": {"size": [h, w], "counts": counts},
                }
            )
    data = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "nucleus"}]}
    path.write_text(json.dumps(data))
    print(f"{path}: {len(images)} pictures, {len(annotations)} nuclei")


def main():
    folder, out = map(Path, sys.argv[1:3])
    out.mkdir(parents=True, exist_ok=True)
    kept = VALIDATION.read_text().split()
    names = sorted(p.name for p in (folder / "images").glob("*.png"))
    missing = sorted(set(kept) - set(names))
    if missing:
        raise SystemExit(f"{folder / 'images'}: {missing[0]} of {VALIDATION.name} is not there")
    convert(folder, [n for n in names if n not in set(kept)], out / "train.json")
    convert(folder, sorted(kept), out / "val.json")


if __name__ == "__main__":
    main()
