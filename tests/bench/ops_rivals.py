"""torchvision's CPU ops and ours on the same boxes, timed in turn: medians and ratios.

    python tests/bench/ops_rivals.py OURS...      needs torch, torchvision

OURS: a command that reads an op's name (`src/ops/bench.rs`, `NAMES`) a line, runs it once on two threads and prints its
milliseconds. Both sides use two threads; a round runs each op once on one side, then on the other.
"""
import statistics
import subprocess
import sys
import time

import numpy as np
import torch
import torchvision
from torchvision.models.detection.roi_heads import paste_masks_in_image
from torchvision.ops import MultiScaleRoIAlign, batched_nms, nms

ROUNDS = 17
VGA, LARGE = (640, 480), (1066, 800)


def noise(count, seed):
    """As `noise` in src/ops/bench.rs."""
    x = np.arange(count, dtype=np.uint32) * np.uint32(747796405) + np.uint32(seed * 2891336453 % 2**32) + np.uint32(1)
    x = ((x >> ((x >> np.uint32(28)) + np.uint32(4))) ^ x) * np.uint32(277803737)
    x = (x >> np.uint32(22)) ^ x
    return torch.from_numpy((x >> np.uint32(8)).astype(np.float32) / np.float32(8388608) - np.float32(1))


def boxes(count, picture, seed):
    """As `boxes` there."""
    width, height = picture
    r = 0.5 + 0.5 * noise(4 * count, seed).view(count, 4)
    x, y = width * r[:, 0], height * r[:, 1]
    dx, dy = 8 * (height / 16) ** r[:, 2], 8 * (height / 16) ** r[:, 3]
    return torch.stack([(x - dx).clamp(0, width), (y - dy).clamp(0, height), (x + dx).clamp(0, width), (y + dy).clamp(0, height)], 1)


def roi_align(count, side):
    grids = [(-(-VGA[0] // s), -(-VGA[1] // s)) for s in (4, 8, 16, 32)]
    maps = {str(s): noise(256 * w * h, s).view(1, 256, h, w) for s, (w, h) in zip((4, 8, 16, 32), grids)}
    pool, rois, sizes = MultiScaleRoIAlign(list(maps), side, 2), [boxes(count, VGA, 3)], [(VGA[1], VGA[0])]
    return lambda: pool(maps, rois, sizes)


def suppress(groups=None, crowd=1):
    places = boxes(1000 // crowd, VGA, 5)
    at = places[torch.arange(1000) % len(places)]
    if crowd > 1:
        at = at + 3 * noise(1000, 6)[:, None] * torch.tensor([1.0, -1.0, 1.0, -1.0])
    scores = noise(1000, 7)
    return (lambda: nms(at, scores, 0.5)) if groups is None else (lambda: batched_nms(at, scores, groups, 0.5))


def paste(picture):
    at = (torch.arange(28) + 0.5) / 28 * 2 - 1
    rough = torch.stack([noise(784, seed).view(1, 28, 28) for seed in range(100)])
    masks, over = (1.2 - at[None, :] ** 2 - at[:, None] ** 2 + 0.3 * rough).clamp(0, 1), boxes(100, picture, 8)
    return lambda: paste_masks_in_image(masks, over, (picture[1], picture[0])) > 0.5


RIVALS = {
    "roi_align_7_f32": lambda: roi_align(1000, 7),
    "roi_align_14_f32": lambda: roi_align(100, 14),
    "nms_1000": suppress,
    "nms_1000_crowded": lambda: suppress(crowd=10),
    "batched_nms_1000": lambda: suppress(torch.arange(1000) % 90),
    "paste_480x640": lambda: paste(VGA),
    "paste_800x1066": lambda: paste(LARGE),
}
ALONE = ["roi_align_7_bf16", "roi_align_14_bf16", "roi_align_7_adaptive_f32", "proposals_800x1088", "detections_1000x91",
         "detections_1000x91_any_score"]


def main():
    torch.set_num_threads(2)
    rivals = {name: make() for name, make in RIVALS.items()}
    ours = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def time_ours(name):
        ours.stdin.write(name + "\n")
        ours.stdin.flush()
        return float(ours.stdout.readline())

    def time_rival(name):
        start = time.perf_counter()
        rivals[name]()
        return (time.perf_counter() - start) * 1e3

    spent = {name: ([], []) for name in [*RIVALS, *ALONE]}
    with torch.no_grad():
        for round_ in range(ROUNDS + 1):
            for name, (mine, theirs) in spent.items():
                times = time_ours(name), time_rival(name) if name in rivals else 0.0
                if round_ > 0:                                     # the first one warms up
                    mine.append(times[0])
                    theirs.append(times[1])
    print(f"torchvision {torchvision.__version__}, torch {torch.__version__}; median ms of {ROUNDS} rounds (best)")
    for name, (mine, theirs) in spent.items():
        a, b = statistics.median(mine), statistics.median(theirs)
        line = f"{name:30} {a:9.3f} ({min(mine):.3f})"
        print(line + (f"  torchvision {b:9.3f} ({min(theirs):.3f})  ratio {a / b:.4f} ({min(mine) / min(theirs):.4f})" if b else ""))


if __name__ == "__main__":
    main()
