"""The command line: python -m maskcast_training --help."""

import argparse
import os
from pathlib import Path


def pair(text):
    width, height = text.lower().split("x")
    return int(width), int(height)


def numbers(text):
    return tuple(float(t) if "." in t else int(t) for t in text.split(","))


def parser():
    p = argparse.ArgumentParser(prog="maskcast_training", description=__doc__)
    p.add_argument("--coco", type=Path, required=True, help="training annotations, COCO JSON")
    p.add_argument("--images", type=Path, required=True)
    p.add_argument("--val-coco", type=Path, required=True)
    p.add_argument("--val-images", type=Path, required=True)
    p.add_argument("--out", type=Path, required=True, help="checkpoints, exports, rows.csv, curve.png; outside the repository")
    p.add_argument("--cache", type=Path, help="folder of the pixel and mask cache (default: OUT/cache)")
    p.add_argument("--resume", action="store_true", help="go on from OUT/checkpoint.pt")
    p.add_argument("--init", type=Path, help="start from exported weights (safetensors); tensors of another shape start anew")
    p.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    p.add_argument("--procs", type=int, help="training processes of one thread each (default: the cores; 1 on cuda)")
    p.add_argument("--seed", type=int, default=1)
    length = p.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, help="length of the run; the schedule always ends decayed")
    length.add_argument("--steps", type=int, help="length in steps: repeatable where --minutes is not")

    p.add_argument("--arch", default="resnet18c256-fpn64")
    p.add_argument("--input", type=pair, default=(384, 288), help="deployed input, WxH")
    p.add_argument("--anchors", type=numbers, default=(24, 40, 64, 100, 160), help="px, one a level")
    p.add_argument("--canonical-scale", type=int, default=224)
    p.add_argument("--representation", type=int, default=256)
    p.add_argument("--tile", type=int, help="larger pictures will be shown in tiles of this side: they keep their scale")
    p.add_argument("--detections", type=int, default=100, help="instances an image when deployed")
    p.add_argument("--proposals", type=numbers, default=(300, 100), help="a level, in total, when deployed")

    p.add_argument("--coarse", type=pair, default=(256, 192), help="training size of the first phase, WxH")
    p.add_argument("--fine", type=pair, help="training size of the last phase, WxH (default: the deployed input)")
    p.add_argument("--fine-from", type=float, default=0.8, help="share of the run after which --fine is used")
    p.add_argument("--coarse-scales", type=numbers, default=(0.62, 1.1), help="range, relative to the deployed scale")
    p.add_argument("--fine-scales", type=numbers, default=(0.8, 1.25))
    p.add_argument("--flips", type=numbers, default=(0.5, 0.0), help="chance of a left-right, top-bottom flip")
    p.add_argument("--turns", type=float, default=0.0, help="chance of swapping the axes")
    p.add_argument("--invert", type=float, default=0.0, help="chance of a negative")
    p.add_argument("--hue", type=float, default=0.0, help="largest turn of the hue, in half turns")
    p.add_argument("--batch", type=int, default=4, help="images a process and step")
    p.add_argument("--average-every", type=int, default=4, help="steps between averagings of the processes' weights")
    p.add_argument("--lr", type=float, default=2.5e-3)
    p.add_argument("--weight-decay", type=float, default=0.05)
    p.add_argument("--warmup", type=int, default=200, help="steps")
    p.add_argument("--ema", type=float, default=0.998)
    p.add_argument("--freeze-bn-from", type=float, default=0.9, help="share of the run after which batch norm is fixed")
    p.add_argument("--loss-weights", type=numbers, default=(1, 1, 1, 1, 1), help="objectness,rpn_box,class,box,mask")
    p.add_argument("--anchor-count", type=int, default=128, help="anchors an image that the RPN learns from")
    p.add_argument("--anchor-positive-iou", type=float, default=0.6)
    p.add_argument("--pre-nms", type=int, default=150, help="proposals a level while training")
    p.add_argument("--post-nms", type=int, default=100)
    p.add_argument("--box-rois", type=int, default=64)
    p.add_argument("--positive-rois", type=int, default=20)
    p.add_argument("--mask-rois", type=int, default=16)

    p.add_argument("--eval-minutes", type=float, default=12)
    p.add_argument("--eval-images", type=int, default=200, help="validation images judged on the way; all at the end")
    p.add_argument("--save-minutes", type=float, default=4)
    return p


def main():
    options = parser().parse_args()
    if options.minutes is None and options.steps is None:
        options.minutes = 75.0
    if options.procs is None:
        options.procs = 1 if options.device == "cuda" else len(os.sched_getaffinity(0))
    options.fine = options.fine or options.input
    options.cache = options.cache or options.out / "cache"
    options.out.mkdir(parents=True, exist_ok=True)
    if options.device == "cpu":
        # One thread a process: two processes that average gradients once a step lose far less to a busy neighbour than
        # two threads that wait for each other in every convolution.
        os.environ["OMP_NUM_THREADS"] = "1"
    from .train import launch

    launch(options)
