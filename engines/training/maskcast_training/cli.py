"""Trains a Mask R-CNN on the objects of a COCO folder and exports an engine for maskcast."""

import argparse
import os
import shlex
import sys
from pathlib import Path

BUNDLED = Path(__file__).resolve().parents[2] / "conveyor.safetensors"


def pair(text):
    width, height = text.lower().split("x")
    return int(width), int(height)


def input_pair(text):
    size = pair(text)
    if any(v < 32 or v % 32 for v in size):
        raise argparse.ArgumentTypeError(f"{text}: expected both sides multiples of 32")
    return size


def numbers(count):
    def parse(text):
        values = tuple(float(t) if "." in t else int(t) for t in text.split(","))
        if len(values) != count:
            raise argparse.ArgumentTypeError(f"{text}: expected {count} numbers with commas between")
        return values

    return parse


def weights(text):
    return None if text == "none" else Path(text)


def parser():
    p = argparse.ArgumentParser(prog="python -m maskcast_training", description=__doc__)
    data = p.add_argument_group("data")
    data.add_argument("--coco", type=Path, required=True, help="annotations, COCO's JSON")
    data.add_argument("--images", type=Path, required=True, help="folder of the pictures they name")
    data.add_argument("--val-coco", type=Path, help="pictures to judge by (default: a tenth of them, held out by file name)")
    data.add_argument("--val-images", type=Path, help="their folder (default: --images)")
    data.add_argument("--cache", type=Path, help="folder of the pixel and mask cache (default: OUT/cache)")

    run = p.add_argument_group("run")
    run.add_argument("--out", type=Path, required=True, help="folder of the run; OUT/NAME.toml is the engine, NAME = its last part")
    length = run.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, help="length of the run (60); the schedule always ends decayed")
    length.add_argument("--steps", type=int, help="length in steps: repeatable where --minutes is not")
    run.add_argument("--resume", action="store_true", help="go on from OUT/checkpoint.pt where there is one")
    run.add_argument("--init", type=weights, default=BUNDLED if BUNDLED.exists() else None, metavar="FILE|none",
                     help="weights to start from; tensors of another shape start anew (default: engines/conveyor.safetensors)")
    run.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    run.add_argument("--procs", type=int, help="training processes of one thread each (default: the cores; 1 on cuda)")
    run.add_argument("--seed", type=int, default=1)
    run.add_argument("--licence", default="unknown", help="of the weights, for the recipe")
    run.add_argument("--eval-minutes", type=float, help="between judgings (a sixth of the run, 1 to 12)")
    run.add_argument("--eval-images", type=int, help="judged on the way (10 a minute of the run, 40 to 200); all at the end")
    run.add_argument("--save-minutes", type=float, default=3)

    net = p.add_argument_group("network (what is not given follows from the data, and is printed)")
    arch = "resnet{18,34,50}[cN]-fpn{64,96,128,256}; cN narrows the last stage"
    net.add_argument("--arch", default="resnet18c256-fpn64", help=arch)
    net.add_argument("--input", type=input_pair, help="deployed input, WxH")
    net.add_argument("--anchors", type=numbers(5), help="px in the input: P2 P3 P4 P5 pool")
    net.add_argument("--ratios", type=numbers(3), help="of the anchors, height / width")
    net.add_argument("--canonical-scale", type=int, default=224)
    net.add_argument("--representation", type=int, default=256)
    net.add_argument("--tile", type=int, help="larger pictures will be shown in tiles of this side: they keep their scale")
    net.add_argument("--detections", type=int, help="instances an image when deployed")
    net.add_argument("--proposals", type=numbers(2), help="a level, in total, when deployed")

    looks = p.add_argument_group("augmentation")
    looks.add_argument("--coarse", type=pair, help="training size of the first phase, WxH")
    looks.add_argument("--fine", type=pair, help="training size of the last phase, WxH")
    looks.add_argument("--fine-from", type=float, default=0.8, help="share of the run after which --fine is used")
    looks.add_argument("--coarse-scales", type=numbers(2), default=(0.62, 1.1), help="range, relative to the deployed scale")
    looks.add_argument("--fine-scales", type=numbers(2), default=(0.8, 1.25))
    looks.add_argument("--flips", type=numbers(2), default=(0.5, 0.0), help="chance of a left-right, top-bottom flip")
    looks.add_argument("--turns", type=float, default=0.0, help="chance of swapping the axes")
    looks.add_argument("--invert", type=float, default=0.0, help="chance of a negative")
    looks.add_argument("--hue", type=float, default=0.0, help="largest turn of the hue, in half turns")

    learn = p.add_argument_group("learning")
    learn.add_argument("--batch", type=int, help="images a process and step (4; 16 on cuda)")
    learn.add_argument("--average-every", type=int, default=4, help="steps between averagings of the processes' weights")
    learn.add_argument("--lr", type=float, help="(2.5e-3 from random weights, 1.5e-3 from trained ones)")
    learn.add_argument("--weight-decay", type=float, default=0.05)
    learn.add_argument("--warmup", type=int, default=200, help="steps; never more than 8 %% of the run")
    learn.add_argument("--ema", type=float, default=0.998)
    learn.add_argument("--freeze-bn-from", type=float, default=0.9, help="share of the run after which batch norm is fixed")
    learn.add_argument("--loss-weights", type=numbers(5), default=(1, 1, 1, 1, 1), help="objectness,rpn_box,class,box,mask")
    learn.add_argument("--anchor-count", type=int, default=128, help="anchors an image that the RPN learns from")
    learn.add_argument("--anchor-positive-iou", type=float, default=0.6)
    learn.add_argument("--pre-nms", type=int, default=150, help="proposals a level while training")
    learn.add_argument("--post-nms", type=int, default=100)
    learn.add_argument("--box-rois", type=int, default=64)
    learn.add_argument("--positive-rois", type=int, default=20)
    learn.add_argument("--mask-rois", type=int, default=16)
    return p


def settle(options):
    """What the other options, and the machine, decide."""
    o = options
    if o.minutes is None and o.steps is None:
        o.minutes = 60.0
    if not (o.minutes or o.steps) or (o.minutes or o.steps) <= 0:
        raise SystemExit("--minutes or --steps: expected more than 0")
    if o.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise SystemExit("--device cuda: torch finds no CUDA device here")
        if (o.procs or 1) > 1:
            raise SystemExit("--device cuda: one process only; a larger --batch keeps the GPU busy")
    o.procs = o.procs or (1 if o.device == "cuda" else len(os.sched_getaffinity(0)))
    o.batch = o.batch or (16 if o.device == "cuda" else 4)
    minutes = o.minutes or 60.0
    o.eval_minutes = o.eval_minutes or min(max(minutes / 6, 1.0), 12.0)
    o.eval_images = o.eval_images or int(min(max(10 * minutes, 40), 200))
    if o.val_images and not o.val_coco:
        raise SystemExit("--val-images needs --val-coco")
    o.out = o.out.resolve()
    o.cache = o.cache or o.out / "cache"
    try:
        o.out.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise SystemExit(f"--out {o.out}: {fault.strerror or fault}")


def provenance(options, data, arguments):
    """What the recipe says of where the weights come from."""
    from .recipe import command_of

    origin = "trained from random weights by engines/training"
    if options.init:
        origin = f"trained by engines/training, from {options.init.name}"
    return {
        "licence": options.licence,
        "origin": origin,
        "data": f"{data.path.name}: {len(data.pictures)} pictures, {data.objects()} objects",
        "command": command_of(arguments),
    }


def main(arguments=None):
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser().parse_args(arguments)
    settle(options)
    if options.device == "cpu":
        # One thread a process: two processes that average weights now and then lose far less to a busy neighbour than
        # two threads that wait for each other in every convolution.
        os.environ["OMP_NUM_THREADS"] = "1"
    import json

    from . import annotations, defaults, split

    data = annotations.read(options.coco, options.images)
    print(data, flush=True)
    if options.val_coco:
        held_out = annotations.read(options.val_coco, options.val_images or options.images, data.classes)
        print(held_out, flush=True)
    else:
        kept, held = split.hold_out(data.pictures)
        split.write(options.out / "split.json", kept, held)
        data.pictures = kept
        held_out = annotations.Annotations(data.path, data.folder, data.classes, held, annotations.Left())
        print(f"{len(kept)} pictures to train on, {len(held)} held out to judge by: {options.out / 'split.json'}", flush=True)
    judged = options.out / "held-out.json"
    judged.write_text(json.dumps(annotations.as_coco(held_out.pictures, held_out.classes)), encoding="utf-8")
    for line in defaults.fill(options, data.pictures):
        print(line, flush=True)
    options.provenance = provenance(options, data, arguments)

    from .dataset import CocoSet
    from .train import launch

    fit = None if options.tile else defaults.Fit(options.input)
    training = CocoSet(data.pictures, data.folder, options.cache, fit)
    for picture in data.pictures:
        picture.objects = None  # the set has what it needs of them
    if not launch(options, training, held_out):
        print(f"stopped; the same command with --resume goes on from {options.out / 'checkpoint.pt'}", file=sys.stderr)
        raise SystemExit(130)
    engine = options.out / f"{options.out.name}.toml"
    judge = ["maskcast", "eval", "--engine", engine, "--coco", judged, "--images", held_out.folder]
    judge += ["--tile", options.tile] if options.tile else []
    judge += ["--max-detections", options.detections] if options.detections > 100 else []
    print(f"engine: {engine}\njudge it: {shlex.join(map(str, judge))}")
