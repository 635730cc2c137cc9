"""What follows from the data where the command line does not say: input size, anchors, how many instances an image.

Sizes are px. An object's side is the root of its box's area; ratios are height / width.
"""

import math
from dataclasses import dataclass

import numpy as np

STRIDES = (4, 8, 16, 32, 64)  # P2 P3 P4 P5 pool
SMALL_PX = 20  # what a tenth of the objects may fall below in the network's input
LEAST_AREA, MOST_AREA = 320 * 240, 640 * 480  # of the input: 12 to 40 ms on two cores
COARSE_AREA, FINE_AREA = 320 * 256, 480 * 384  # of a training image
OBJECTS = 2000  # looked at, at most


def to_32(width, height):
    """The nearest size of whole multiples of 32, at least 128."""
    return tuple(max(128, int(v / 32 + 0.5) * 32) for v in (width, height))


def at_most(size, area):
    """A size of the same shape and at most about `area`."""
    scale = min(1.0, math.sqrt(area / (size[0] * size[1])))
    return to_32(size[0] * scale, size[1] * scale)


def input_size(pictures):
    """The pictures' median shape, small enough to be fast, large enough for the small objects -> (width, height)."""
    width = float(np.median([p.width for p in pictures]))
    height = float(np.median([p.height for p in pictures]))
    sides = [math.sqrt(max(o.box[2] * o.box[3], 1.0)) for p in pictures for o in p.objects]
    wanted = SMALL_PX / float(np.quantile(sides, 0.1))
    least, most = (math.sqrt(area / (width * height)) for area in (LEAST_AREA, MOST_AREA))
    scale = min(max(wanted, least), most, 1.0)
    return to_32(width * scale, height * scale)


@dataclass(frozen=True)
class Fit:
    """(height, width) of a picture -> network px per source px when deployed: fitted into the input, or shown in tiles."""

    input: tuple  # width, height
    tile: int | None = None

    def __call__(self, height, width):
        fitted = min(self.input[0] / width, self.input[1] / height)
        return max(fitted, min(self.input) / self.tile) if self.tile else fitted


def boxes_at(pictures, fit):
    """-> [n,2] width and height of the objects, network px; evenly chosen where there are many."""
    boxes = [(o.box[2] * s, o.box[3] * s) for p in pictures for s in [fit(p.height, p.width)] for o in p.objects]
    boxes = np.array([b for b in boxes if min(b) >= 1], np.float64).reshape(-1, 2)
    return boxes[:: max(1, len(boxes) // OBJECTS)]


def overlap(boxes, sizes, ratios):
    """Mean best IoU of the objects with any anchor, the object's centre anywhere in the anchor's cell."""
    rng = np.random.default_rng(0)
    best = np.zeros(len(boxes))
    at = rng.uniform(-0.5, 0.5, (len(boxes), 2))
    for size, stride in zip(sizes, STRIDES):
        for ratio in ratios:
            anchor = np.array([size / math.sqrt(ratio), size * math.sqrt(ratio)])
            low = np.maximum(at * stride - boxes / 2, -anchor / 2)
            high = np.minimum(at * stride + boxes / 2, anchor / 2)
            shared = np.clip(high - low, 0, None).prod(1)
            best = np.maximum(best, shared / (boxes.prod(1) + anchor.prod() - shared))
    return best.mean()


def anchors(boxes):
    """boxes [n,2] network px -> (five sizes, three ratios): the geometric row of sizes that overlaps the objects best.

    Ratios stay 0.5, 1, 2 unless others are better by a point.
    """
    if not len(boxes):
        return (16, 32, 64, 128, 256), (0.5, 1.0, 2.0)
    rows = [
        tuple(round(first * growth**k) for k in range(5))
        for first in np.geomspace(8, 64, 13)
        for growth in (1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 2.0)
    ]
    usual = (0.5, 1.0, 2.0)
    sizes = max(rows, key=lambda row: overlap(boxes, row, usual))
    middle = round(float(np.exp(np.median(np.log(boxes[:, 1] / boxes[:, 0])))), 2)
    triples = [tuple(round(m * k, 2) for k in (1 / spread, 1, spread)) for m in (1.0, middle) for spread in (1.4, 2, 3)]
    ratios = max(triples, key=lambda triple: overlap(boxes, sizes, triple))
    return sizes, ratios if overlap(boxes, sizes, ratios) > overlap(boxes, sizes, usual) + 0.01 else usual


def crowd(pictures):
    """-> (detections, (proposals a level, in total)): a quarter more than the most crowded picture holds, 100 at least."""
    most = max(len(p.objects) for p in pictures)
    if most <= 80:
        return 100, (300, 100)
    detections = min(math.ceil(most * 1.25 / 50) * 50, 1000)
    return detections, (min(detections * 5 // 2, 2000), 2 * detections)


def fill(options, pictures):
    """Sets what the command line left open. -> lines that say what was chosen, and why."""
    said = []
    if options.input is None:
        options.input = input_size(pictures)
        sizes = f"{np.median([p.width for p in pictures]):.0f}x{np.median([p.height for p in pictures]):.0f}"
        said.append(f"input {options.input[0]}x{options.input[1]}: the pictures are {sizes} (median)")
    fit = Fit(options.input, options.tile)
    boxes = boxes_at(pictures, fit)
    if len(boxes):
        low, middle, high = np.quantile(np.sqrt(boxes.prod(1)), (0.1, 0.5, 0.9))
        said.append(f"objects there: {middle:.0f} px (median side), eight in ten between {low:.0f} and {high:.0f} px")
    if options.anchors is None:
        sizes, ratios = anchors(boxes)
        options.anchors, options.ratios = sizes, options.ratios or ratios
        found = overlap(boxes, sizes, options.ratios) if len(boxes) else 0.0
        said.append(f"anchors {', '.join(map(str, sizes))} px: they overlap the objects by {found:.2f} (mean best IoU)")
    options.ratios = options.ratios or (0.5, 1.0, 2.0)
    if options.ratios != (0.5, 1.0, 2.0):
        said.append(f"anchor ratios {', '.join(map(str, options.ratios))} (height / width)")
    detections, proposals = crowd(pictures)
    if options.detections is None:
        options.detections = detections
        if detections > 100:
            said.append(f"{detections} detections an image: the most crowded one holds {max(len(p.objects) for p in pictures)}")
    options.proposals = options.proposals or proposals
    options.coarse = options.coarse or at_most((options.input[0] * 2 / 3, options.input[1] * 2 / 3), COARSE_AREA)
    options.fine = options.fine or at_most(options.input, FINE_AREA)
    return said
