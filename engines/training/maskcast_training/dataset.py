"""A COCO-format set behind one cache file: pixels as uint8, masks as packed bits, each decoded the first time it is asked for.

Masks are kept as GRID x GRID bits over the instance's own box ("frame"): any crop, flip or scale of the image then
samples them without ever pasting a full-size mask. 512 bytes an instance instead of an image-sized plane.
"""

import hashlib
import json
import os
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as coco_mask

GRID = 64
RECORD = 16 + GRID * GRID // 8  # bytes an instance: its frame as 4 float32, then the bits


def class_names(path):
    """Category names in order of category_id; class_id = category_id - 1 needs them to run 1..n."""
    categories = sorted(json.loads(Path(path).read_text())["categories"], key=lambda c: c["id"])
    if [c["id"] for c in categories] != list(range(1, len(categories) + 1)):
        raise SystemExit(f"{path}: category ids must be 1..n, found {[c['id'] for c in categories]}")
    return [c["name"] for c in categories]


def rle_of(segmentation, height, width):
    """Polygons, uncompressed or compressed RLE -> compressed RLE."""
    if isinstance(segmentation, list):
        return coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    if isinstance(segmentation["counts"], list):
        return coco_mask.frPyObjects(segmentation, height, width)
    return segmentation


class CocoSet:
    """images[i] -> (pixels uint8 [h,w,3] RGB, boxes [n,4], labels [n], grids bool [n,GRID,GRID]).

    Crowd annotations are left out. Several processes may share the cache file: whoever needs an image first fills it in.
    """

    def __init__(self, annotations, images, cache_dir):
        text = Path(annotations).read_text()
        data = json.loads(text)
        self.folder = Path(images)
        by_image = {}
        for a in data["annotations"]:
            if not a.get("iscrowd"):
                by_image.setdefault(a["image_id"], []).append(a)
        self.entries = []  # (file name, height, width, offset of its pixels, first instance)
        self.segmentations, self.labels = [], []
        at = 0
        for image in data["images"]:
            found = by_image.get(image["id"], [])
            self.entries.append((image["file_name"], image["height"], image["width"], at, len(self.labels)))
            self.segmentations.append([a["segmentation"] for a in found])
            self.labels += [a["category_id"] for a in found]
            at += image["height"] * image["width"] * 3
        self.labels = np.array(self.labels, np.int64)
        n, m = len(self.entries), len(self.labels)
        key = hashlib.sha256(text.encode() + str(self.folder.resolve()).encode()).hexdigest()[:16]
        self.path = Path(cache_dir) / f"coco-{key}.cache"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.pixel_bytes = at
        size = at + m * RECORD + n
        if not self.path.exists() or self.path.stat().st_size != size:
            with open(self.path, "ab") as file:
                os.truncate(file.fileno(), size)  # sparse: takes disk only as it fills
        self.open()

    def open(self):
        n, m, at = len(self.entries), len(self.labels), self.pixel_bytes
        whole = np.memmap(self.path, np.uint8, "r+", shape=(at + m * RECORD + n,))
        self.pixels, self.filled = whole[:at], whole[at + m * RECORD :]
        self.records = whole[at : at + m * RECORD].reshape(m, RECORD)

    def __getstate__(self):
        # A worker process opens the file anew: pickled as it stands, a memory map is copied whole.
        return {k: v for k, v in self.__dict__.items() if k not in ("pixels", "filled", "records")}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self.open()

    def __len__(self):
        return len(self.entries)

    def span(self, i):
        first = self.entries[i][4]
        last = self.entries[i + 1][4] if i + 1 < len(self.entries) else len(self.labels)
        return slice(first, last)

    def __getitem__(self, i):
        _, h, w, at, _ = self.entries[i]
        if not self.filled[i]:
            self.fill(i)
        records = self.records[self.span(i)]
        frames = np.ascontiguousarray(records[:, :16]).view(np.float32).reshape(-1, 4)
        grids = np.unpackbits(np.ascontiguousarray(records[:, 16:]), axis=1).reshape(-1, GRID, GRID).astype(bool)
        return self.pixels[at : at + h * w * 3].reshape(h, w, 3), frames, self.labels[self.span(i)], grids

    def read(self, i):
        """The image file itself, RGB."""
        name, h, w, _, _ = self.entries[i]
        pixels = cv2.imread(str(self.folder / name), cv2.IMREAD_COLOR)
        if pixels is None or pixels.shape[:2] != (h, w):
            raise SystemExit(f"{self.folder / name}: expected a {w}x{h} image")
        return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)

    def fill(self, i):
        _, h, w, at, first = self.entries[i]
        self.pixels[at : at + h * w * 3] = self.read(i).reshape(-1)
        for k, segmentation in enumerate(self.segmentations[i]):
            mask = coco_mask.decode(rle_of(segmentation, h, w))
            columns, rows = mask.any(0).nonzero()[0], mask.any(1).nonzero()[0]
            if not len(columns):
                continue  # an empty mask keeps a zero frame, and sampling drops it
            x0, x1, y0, y1 = columns[0], columns[-1] + 1, rows[0], rows[-1] + 1
            crop = mask[y0:y1, x0:x1].astype(np.float32)
            area = cv2.INTER_AREA if min(crop.shape) >= GRID else cv2.INTER_LINEAR
            grid = cv2.resize(crop, (GRID, GRID), interpolation=area) >= 0.5
            self.records[first + k, :16] = np.array([x0, y0, x1, y1], np.float32).view(np.uint8)
            self.records[first + k, 16:] = np.packbits(grid)
        self.filled[i] = 1
