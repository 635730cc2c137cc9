"""From a 28x28 grid of probabilities to pixels, as maskcast does it (src/instances/soft.rs, src/geometry/pixel_box.rs): boxes
on a lattice of 1/256 px, probabilities in 255 steps, the bilinear sum in integers, half counts as set.

Letters as there: x0 x1 edges in 1/256 px, M the grid's side, a the cell at or before a pixel's centre, fx the next one's weight.
"""

import numpy as np

STEPS = 256


def half_away(values):
    """Rounds halves away from zero, float64 -> int64."""
    return (np.sign(values) * np.floor(np.abs(values) + 0.5)).astype(np.int64)


def lattice(boxes):
    """boxes float32 [n,4] px -> int64 [n,4] in 1/256 px."""
    return half_away(np.asarray(boxes, np.float32).astype(np.float64) * STEPS)


def quantised(probabilities):
    """-> int64 0..255"""
    return half_away(np.asarray(probabilities, np.float32).astype(np.float64) * 255)


def samples(low, high, side, limit):
    """The pixels whose centre lies in low..high and 0..limit -> (pixels, cells -1..side-1, weights of the next cell)."""
    first = max(-((128 - low) // 256), 0)
    end = min(-((128 - high) // 256), limit)
    pixels = np.arange(first, max(first, end), dtype=np.int64)
    return pixels, *np.divmod(2 * side * (256 * pixels + 128 - low) - (high - low), 2 * (high - low))


def paste(grid, box, height, width):
    """grid int64 [M,M] 0..255, box in 1/256 px -> uint8 [height,width]."""
    out = np.zeros((height, width), np.uint8, order="F")
    x0, y0, x1, y1 = (int(v) for v in box)
    if x0 >= x1 or y0 >= y1:
        return out
    side = len(grid)
    columns, a, fx = samples(x0, x1, side, width)
    rows, b, fy = samples(y0, y1, side, height)
    if not len(columns) or not len(rows):
        return out
    dx, dy = 2 * (x1 - x0), 2 * (y1 - y0)
    cells = np.pad(grid, 1)  # cells outside the grid hold 0
    blended = (dy - fy)[:, None] * cells[b + 1] + fy[:, None] * cells[b + 2]
    total = (dx - fx) * blended[:, a + 1] + fx * blended[:, a + 2]
    out[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = 2 * total >= 255 * dx * dy
    return out
