"""The training part behind one cache file: pixels as uint8, masks as packed bits, each decoded the first time it is asked for.

Masks are kept as GRID x GRID bits over the instance's own box ("frame"): any crop, flip or scale of the image then
samples them without ever pasting a full-size mask. 512 bytes an instance instead of an image-sized plane.

Pictures much larger than the network will see them are kept at FINER times that scale, sampled as the deployed program
samples. A set whose pixels would still take more than half of the free disk is decoded each time it is asked for.
"""

import hashlib
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from .annotations import rle_of

GRID = 64
RECORD = 16 + GRID * GRID // 8  # bytes an instance: its frame as 4 float32, then the bits
FINER = 1.5  # more than the largest training scale, relative to the deployed one
EMPTY, FILLED, DAMAGED = 0, 1, 2
AS_STORED = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION  # annotations are written for the pixels as stored


def read_rgb(path, width, height):
    """-> uint8 [h,w,3], or None where the file is damaged or of another size."""
    pixels = cv2.imread(str(path), AS_STORED)
    if pixels is None or pixels.shape != (height, width, 3):
        return None
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


class CocoSet:
    """images[i] -> (pixels uint8 [h,w,3] RGB, boxes [n,4], labels [n], grids bool [n,GRID,GRID]), or None: a damaged file.

    Several processes may share the cache file: whoever needs an image first fills it in. `fit`: (height, width) -> network px
    per source px; None keeps every picture as large as it is.
    """

    def __init__(self, pictures, folder, cache_dir, fit=None):
        self.folder = Path(folder)
        self.entries = []  # (file name, height, width as kept, offset of its pixels, first instance)
        self.sources = []  # (height, width) of the file
        self.outlines, labels, at = [], [], 0
        names = hashlib.sha256(str(self.folder.resolve()).encode())
        for p in pictures:
            small = fit(p.height, p.width) * FINER if fit else 1.0
            height, width = p.height, p.width
            if small < 0.5:
                height, width = max(1, round(height * small)), max(1, round(width * small))
            self.entries.append((p.file_name, height, width, at, len(labels)))
            self.sources.append((p.height, p.width))
            self.outlines.append([o.outline for o in p.objects])
            labels += [o.label for o in p.objects]
            at += height * width * 3
            names.update(repr((p.file_name, height, width, p.stamp, self.outlines[-1])).encode())
        self.labels = np.array(labels, np.int64)
        self.path = Path(cache_dir) / f"coco-{names.hexdigest()[:16]}.cache"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        n, m = len(self.entries), len(self.labels)
        self.pixel_bytes = at if self.path.exists() or at < shutil.disk_usage(self.path.parent).free // 2 else 0
        if self.path.exists():
            self.pixel_bytes = self.path.stat().st_size - m * RECORD - n  # as it was decided then
        if self.pixel_bytes not in (0, at):
            self.path.unlink()
            self.pixel_bytes = 0
        with open(self.path, "ab") as file:
            os.truncate(file.fileno(), self.pixel_bytes + m * RECORD + n)  # sparse: takes disk only as it fills
        self.open()
        self.state[self.state == DAMAGED] = EMPTY  # perhaps it can be read today

    def open(self):
        n, m, at = len(self.entries), len(self.labels), self.pixel_bytes
        whole = np.memmap(self.path, np.uint8, "r+", shape=(at + m * RECORD + n,))
        self.pixels, self.state = whole[:at], whole[at + m * RECORD :]
        self.records = whole[at : at + m * RECORD].reshape(m, RECORD)

    def __getstate__(self):
        # A worker process opens the file anew: pickled as it stands, a memory map is copied whole.
        return {k: v for k, v in self.__dict__.items() if k not in ("pixels", "state", "records")}

    def __setstate__(self, state):
        self.__dict__.update(state)
        self.open()

    def __len__(self):
        return len(self.entries)

    def damaged(self):
        """Names of the files that were found damaged so far."""
        return [self.entries[i][0] for i in (self.state == DAMAGED).nonzero()[0]]

    def span(self, i):
        first = self.entries[i][4]
        last = self.entries[i + 1][4] if i + 1 < len(self.entries) else len(self.labels)
        return slice(first, last)

    def __getitem__(self, i):
        _, h, w, at, _ = self.entries[i]
        if self.state[i] == DAMAGED:
            return None
        pixels = None
        if self.state[i] == EMPTY or not self.pixel_bytes:
            pixels = self.read(i)
            if self.state[i] == EMPTY:
                self.fill(i, pixels)
            if pixels is None:
                self.state[i] = DAMAGED
                return None
        if pixels is None:
            pixels = self.pixels[at : at + h * w * 3].reshape(h, w, 3)
        records = self.records[self.span(i)]
        frames = np.ascontiguousarray(records[:, :16]).view(np.float32).reshape(-1, 4)
        grids = np.unpackbits(np.ascontiguousarray(records[:, 16:]), axis=1).reshape(-1, GRID, GRID).astype(bool)
        return pixels, frames, self.labels[self.span(i)], grids

    def read(self, i):
        """The picture as it is kept, or None."""
        (name, h, w, _, _), (height, width) = self.entries[i], self.sources[i]
        pixels = read_rgb(self.folder / name, width, height)
        if pixels is not None and (h, w) != (height, width):
            pixels = cv2.resize(pixels, (w, h), interpolation=cv2.INTER_LINEAR)
        return pixels

    def fill(self, i, pixels):
        (_, h, w, at, first), (height, width) = self.entries[i], self.sources[i]
        if pixels is None:
            return
        if self.pixel_bytes:
            self.pixels[at : at + h * w * 3] = pixels.reshape(-1)
        kept_from_source = np.float32([w / width, h / height, w / width, h / height])
        for k, outline in enumerate(self.outlines[i]):
            frame, grid = framed(coco_mask.decode(rle_of(outline, height, width)))
            self.records[first + k, :16] = (frame * kept_from_source).view(np.uint8)
            self.records[first + k, 16:] = np.packbits(grid)
        self.state[i] = FILLED


def framed(mask):
    """uint8 [h,w] -> (its tight box x0 y0 x1 y1 float32, the mask in it as GRID x GRID bits). An empty one keeps a zero box,
    and sampling drops it."""
    columns, rows = mask.any(0).nonzero()[0], mask.any(1).nonzero()[0]
    if not len(columns):
        return np.zeros(4, np.float32), np.zeros((GRID, GRID), bool)
    x0, y0, x1, y1 = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    crop = mask[y0:y1, x0:x1].astype(np.float32)
    area = cv2.INTER_AREA if min(crop.shape) >= GRID else cv2.INTER_LINEAR
    return np.float32([x0, y0, x1, y1]), cv2.resize(crop, (GRID, GRID), interpolation=area) >= 0.5
