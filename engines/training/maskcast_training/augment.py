"""One training sample from one cached image: a window of it, scaled, flipped and recoloured, with what is in it."""

from dataclasses import dataclass

import cv2
import numpy as np

from .dataset import GRID

@dataclass(frozen=True)
class Looks:
    """How else the same things may look. Chances, 0..1; `hue` is the largest turn, in half turns."""

    flips: tuple = (0.5, 0.0)  # left-right, top-bottom
    turns: float = 0.0  # rows for columns
    invert: float = 0.0  # a negative
    hue: float = 0.0


FILL = (124, 116, 104)  # the mean colour: zero after normalisation, like the padding at run time


def window(rng, source_size, out_size, scales, aspect=1.1):
    """-> (x0, y0, scale_x, scale_y): out = (source - origin) * scale. `scales` is the range of out px per source px."""
    (h, w), (out_h, out_w) = source_size, out_size
    scale = np.exp(rng.uniform(np.log(scales[0]), np.log(scales[1])))
    stretch = np.exp(rng.uniform(-np.log(aspect), np.log(aspect)) / 2)
    sx, sy = scale * stretch, scale / stretch

    def origin(extent, room):
        slack = extent - room
        return rng.uniform(min(slack, 0), max(slack, 0))

    return origin(w, out_w / sx), origin(h, out_h / sy), sx, sy


def recolour(rng, image, looks):
    """Negative and hue; brightness, contrast, gamma, white balance by one table; then saturation, blur, noise now and then."""
    if rng.random() < looks.invert:
        image = 255 - image
    if looks.hue:
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
        hsv[..., 0] = (hsv[..., 0].astype(np.int16) + int(rng.uniform(-90, 90) * looks.hue)) % 180
        image = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)
    level = np.arange(256, dtype=np.float32)[:, None] / 255
    gamma = np.exp(rng.uniform(-0.35, 0.35))
    gain = rng.uniform(0.7, 1.3) * rng.uniform(0.92, 1.08, 3)
    table = (level**gamma - 0.5) * gain + 0.5 + rng.uniform(-0.12, 0.12)
    image = cv2.LUT(image, (table.clip(0, 1) * 255).astype(np.uint8).reshape(1, 256, 3))
    if rng.random() < 0.3:
        grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        image = cv2.addWeighted(image, (share := rng.uniform(0.2, 1.0)), grey, 1 - share, 0)
    if rng.random() < 0.15:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.2))
    if rng.random() < 0.3:
        noise = rng.integers(-127, 128, (64, image.shape[1], 3), dtype=np.int8).astype(np.float32)
        noise = np.tile(noise * (rng.uniform(1, 9) / 73), (image.shape[0] // 64 + 1, 1, 1))[: image.shape[0]]
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    return image


def visible(frames, grids, out_size):
    """Tight boxes of what each instance shows inside the window, and the fraction of it that shows.

    frames [n,4] out px, possibly outside; grids [n,GRID,GRID] -> boxes [n,4], fraction [n].
    """
    h, w = out_size
    boxes = np.clip(frames, 0, [w, h, w, h]).astype(np.float32)
    fraction = np.ones(len(frames), np.float32)
    for k in (np.abs(boxes - frames).max(1) > 1e-3).nonzero()[0]:
        x0, y0, x1, y1 = frames[k]
        edge = np.arange(GRID) + 0.5
        in_x = (x0 + edge / GRID * (x1 - x0) > 0) & (x0 + edge / GRID * (x1 - x0) < w)
        in_y = (y0 + edge / GRID * (y1 - y0) > 0) & (y0 + edge / GRID * (y1 - y0) < h)
        shown = grids[k] & in_y[:, None] & in_x
        fraction[k] = shown.sum() / max(grids[k].sum(), 1)
        if fraction[k] > 0:
            columns, rows = shown.any(0).nonzero()[0], shown.any(1).nonzero()[0]
            tight = [
                x0 + columns[0] / GRID * (x1 - x0),
                y0 + rows[0] / GRID * (y1 - y0),
                x0 + (columns[-1] + 1) / GRID * (x1 - x0),
                y0 + (rows[-1] + 1) / GRID * (y1 - y0),
            ]
            boxes[k] = np.clip(tight, 0, [w, h, w, h])
    return boxes, fraction


def sample(rng, item, out_size, scales, looks=Looks()):
    """CocoSet item -> (image uint8 [H,W,3], boxes, frames [n,4] out px, labels, grids) at `out_size` (H, W)."""
    pixels, frames, labels, grids = item
    if rng.random() < looks.turns:
        pixels, frames = np.ascontiguousarray(pixels.transpose(1, 0, 2)), frames[:, [1, 0, 3, 2]]
        grids = grids.transpose(0, 2, 1)
    h, w = out_size
    x0, y0, sx, sy = window(rng, pixels.shape[:2], out_size, scales)
    frames = (frames - [x0, y0, x0, y0]) * [sx, sy, sx, sy]
    # Half-pixel centres, no antialiasing, as the deployed preprocessing samples.
    move = np.float64([[sx, 0, (0.5 - x0) * sx - 0.5], [0, sy, (0.5 - y0) * sy - 0.5]])
    if rng.random() < looks.flips[0]:
        move[0] = [-move[0, 0], 0, w - 1 - move[0, 2]]
        frames = np.stack([w - frames[:, 2], frames[:, 1], w - frames[:, 0], frames[:, 3]], 1)
        grids = grids[:, :, ::-1]
    if rng.random() < looks.flips[1]:
        move[1] = [0, -move[1, 1], h - 1 - move[1, 2]]
        frames = np.stack([frames[:, 0], h - frames[:, 3], frames[:, 2], h - frames[:, 1]], 1)
        grids = grids[:, ::-1]
    if sx < 0.75 and rng.random() < 0.5:
        pixels = cv2.GaussianBlur(pixels, (3, 3), 0.35 / sx)
    image = cv2.warpAffine(pixels, move, (w, h), flags=cv2.INTER_LINEAR, borderValue=FILL)
    image = recolour(rng, image, looks)
    boxes, fraction = visible(frames, grids, out_size)
    keep = (fraction > 0.1) & (boxes[:, 2] - boxes[:, 0] > 3) & (boxes[:, 3] - boxes[:, 1] > 3)
    return image, boxes[keep].astype(np.float32), frames[keep].astype(np.float32), labels[keep], grids[keep]
