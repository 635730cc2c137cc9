"""The whole program against torchvision (and detectron2's rules) on real-sized checkpoints: boxes, scores and pasted masks.

    make parity                                                     torch, torchvision, numpy, Pillow and pycocotools
    python tests/oracle/parity.py --maskcast target/release/maskcast [--only TEXT] [--quick]

A checkpoint of seeded random weights (`parity_networks.py`) is written as its library writes it, imported by `maskcast
engine import`, and pictures go through `maskcast segment --paste torchvision` and through the library.

Bars: the same detections in the same order (but ties, scores within 1e-5), boxes within 0.02 px, scores within 1e-4, masks
IoU >= 0.999. Two steps of the paste rule turn any difference into whole pixels, so both are followed: where the grown box's
edges, cut off to whole pixels, differ (which the bar on boxes allows only beside a whole pixel), the library's grid is pasted
into our box; and below the IoU, a mask passes if every pixel that differs is within 1e-4 of one half. Both are counted in
the table. Ends with 1 past a bar. Made with torch 2.15.0, torchvision 0.29.2.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import numpy as np
import torch
from parity_networks import IDENTITY, references
from PIL import Image
from pycocotools import mask as coco
from torchvision.models.detection.roi_heads import paste_masks_in_image

REPOSITORY = pathlib.Path(__file__).parents[2]
TIE = 1e-5
BOX_PX, SCORE, IOU = 0.02, 1e-4, 0.999
HALF = 1e-4  # of a pixel's value
LARGE_PX = 64  # where a grid cell is more than two pixels

# ----------------------------------------------------------------------------------------------------------- pictures


def synthetic(size, seed):
    """Gradients, discs, boxes and noise."""
    w, h = size
    r = np.random.default_rng(seed)
    y, x = np.mgrid[:h, :w].astype(np.float32)
    out = np.stack([x / w * r.uniform(50, 250), y / h * r.uniform(50, 250), (x + y) / (w + h) * 255], -1)
    for _ in range(40):
        cx, cy, size_px = r.uniform(0, w), r.uniform(0, h), r.uniform(0.01, 0.25) * min(w, h)
        inside = (abs(x - cx) < size_px) & (abs(y - cy) < size_px * r.uniform(0.4, 2))
        if r.random() < 0.5:
            inside = (x - cx) ** 2 + (y - cy) ** 2 < size_px**2
        out[inside] = r.uniform(0, 255, 3)
    return np.clip(out + r.normal(0, 6, out.shape), 0, 255).astype(np.uint8)


def pictures(size, count):
    """Photographs where there are any, and one drawn picture."""
    folder = pathlib.Path(os.environ.get("MASKCAST_DATA", "")) / "coco_permissive" / "val2017"
    photographs = sorted(folder.glob("*.jpg"))[: count + 2]
    out = []
    for i in range(count):
        if i == 1 or i >= len(photographs):
            out.append(synthetic(size, i))
        else:
            picture = Image.open(photographs[i]).convert("RGB").resize(size, Image.BICUBIC)
            out.append(np.array(picture))
    return out


# ------------------------------------------------------------------------------------------------------------ program


class Program:
    def __init__(self, path, folder):
        self.path, self.folder = path, folder

    def call(self, *arguments):
        done = subprocess.run([self.path, *map(str, arguments)], capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{self.path} {' '.join(map(str, arguments))}\n{done.stderr}")

    def engine(self, reference):
        """Imports the reference's checkpoint. -> the recipe as imported"""
        text = (REPOSITORY / "engines" / f"{reference.recipe}.toml").read_text()
        for old, new in reference.edits:
            text, count = re.subn(old if isinstance(old, re.Pattern) else re.escape(old), new, text)
            assert count == 1, f"{reference.recipe}: {old} {count} times"
        recipe = self.folder / f"{reference.name}.toml"
        recipe.write_text(text.replace("shortest_edge_px = 800", "shortest_edge_px = 320"))
        checkpoint = self.folder / f"{reference.name}{reference.suffix}"
        reference.save(checkpoint)
        out = self.folder / "engine"
        self.call("engine", "import", "--from", reference.source, checkpoint, "--recipe", recipe, "--out", out)
        checkpoint.unlink()
        return out / f"{reference.name}.toml"

    def sized(self, recipe, edges):
        """The engine with another size, and without its self-test, which belongs to the old one."""
        text = recipe.read_text()
        for key, value in [("shortest_edge_px", min(edges)), ("longest_edge_px", max(edges))]:
            text, count = re.subn(rf"{key} = \d+", f"{key} = {value}", text)
            assert count == 1, key
        text = re.sub(r"self_test = .*\n", "", text)
        path = recipe.with_name("sized.toml")
        path.write_text(text)
        return path

    def answers(self, recipe, images, *arguments):
        out = self.folder / "answers.json"
        self.call("segment", "--engine", recipe, "--score-threshold", 0, "--json", out, *arguments, *images)
        answers = []
        for picture in json.loads(out.read_text()):
            found = picture["instances"]
            answers.append(
                {
                    "boxes": np.array([i["box"] for i in found], np.float64).reshape(-1, 4),
                    "scores": np.array([i["score"] for i in found], np.float64),
                    "labels": np.array([i["class_id"] for i in found], np.int64),
                    "masks": [i["mask"] for i in found],
                }
            )
        return answers


# ---------------------------------------------------------------------------------------------------------- comparison


def overlap(rle, values, grid, ours, theirs):
    """-> IoU (1 when both are empty), whether the library's grid had to be pasted into our box, and of the pixels that
    differ the one farthest from one half (None: none differs)."""
    moved = whole_edges(ours) != whole_edges(theirs)
    if moved:
        box = torch.tensor(ours, dtype=torch.float32)[None]
        values = paste_masks_in_image(grid[None], box, tuple(values.shape))[0, 0]
    values = values.numpy()
    got, want = coco.decode(rle).astype(bool), values > 0.5
    different = got != want
    union = np.count_nonzero(got | want)
    iou = 1.0 - np.count_nonzero(different) / union if union else 1.0
    return iou, moved, float(np.abs(values[different] - 0.5).max()) if different.any() else None


def whole_edges(box):
    """The paste rule's whole pixels: the box grown by 30 / 28 about its middle, cut off."""
    b = torch.tensor(np.asarray(box), dtype=torch.float32)
    middle, half = (b[2:] + b[:2]) * 0.5, (b[2:] - b[:2]) * 0.5 * (30 / 28)
    return torch.cat([middle - half, middle + half]).to(torch.int64).tolist()


def compare(ours, reference, has_masks, lenient=False):
    """One picture. `lenient`: partners by class and place alone."""
    boxes, scores, labels = (reference[k].numpy().astype(np.float64) for k in ("boxes", "scores", "labels"))
    free, pairs, missing = set(range(len(ours["scores"]))), [], []
    for i in range(len(scores)):
        box_gap = np.abs(ours["boxes"] - boxes[i]).max(1) if len(ours["boxes"]) else np.zeros(0)
        score_gap = np.abs(ours["scores"] - scores[i])
        fits = [
            j
            for j in free
            if ours["labels"][j] == labels[i]
            and (box_gap[j] <= 4 if lenient else box_gap[j] <= 0.5 and score_gap[j] <= 1e-2)
        ]
        if not fits:
            missing.append(i)
            continue
        j = i if i in fits and not lenient else min(fits, key=lambda j: (box_gap[j], score_gap[j]))
        free.remove(j)
        pairs.append((i, j, box_gap[j], score_gap[j]))
    # Where two come in the other order, the reference's scores must tie.
    swaps, untied = 0, 0
    for a, (i, j, *_) in enumerate(pairs):
        for i2, j2, *_ in pairs[a + 1 :]:
            if (i < i2) != (j < j2):
                swaps += 1
                untied += abs(scores[i] - scores[i2]) >= TIE
    overlaps, fill = [], []
    if has_masks:
        for i, j, *_ in pairs:
            values, grid = reference["masks"][i], reference["grids"][i]
            # Another rule or precision keeps the library's own box.
            box = boxes[i] if lenient else ours["boxes"][j]
            overlaps.append(overlap(ours["masks"][j], values, grid, box, boxes[i]))
            fill.append(float((values > 0.5).sum()) / max(1.0, area(boxes[i])))
    below = [(iou, far) for iou, _, far in overlaps if iou < IOU]
    return {
        "detections": len(scores),
        "matched": len(pairs),
        "missing": [(int(labels[i]), round(float(scores[i]), 6), boxes[i].round(2).tolist()) for i in missing],
        "extra": [(int(ours["labels"][j]), float(ours["scores"][j]), ours["boxes"][j].round(2).tolist()) for j in sorted(free)],
        "box": max((p[2] for p in pairs), default=0.0),
        "score": max((p[3] for p in pairs), default=0.0),
        "ious": [iou for iou, *_ in overlaps],
        "large": [o[0] for o, (i, *_) in zip(overlaps, pairs) if min(boxes[i][2:] - boxes[i][:2]) >= LARGE_PX],
        "moved": sum(moved for _, moved, _ in overlaps),
        "halves": sum(far <= HALF for _, far in below),
        "unlike": [(round(float(iou), 5), far) for iou, far in below if far > HALF],
        "swaps": swaps,
        "untied": untied,
        "fill": float(np.mean(fill)) if fill else 0.0,
        "classes": len(set(labels.tolist())),
        "spread": (float(scores.min()), float(scores.max())) if len(scores) else (0.0, 0.0),
    }


def area(b):
    return max(0.0, b[2] - b[0]) * max(0.0, b[3] - b[1])


def past_the_bars(r):
    return bool(
        r["missing"]
        or r["extra"]
        or r["untied"]
        or r["box"] > BOX_PX
        or r["score"] > SCORE
        or r["unlike"]
    )


HEADER = "| model | size | batch | detections | worst box px | worst score | worst IoU | mean IoU | swaps | edges | halves |"


def row(name, size, batch, results, note=""):
    ious = [i for r in results for i in r["ious"]]
    masks = f"{min(ious):.5f} | {np.mean(ious):.5f}" if ious else "- | -"
    total = lambda key: sum(r[key] for r in results)
    matched, count = total("matched"), total("detections")
    detections = str(count) if matched == count else f"{matched} of {count}"
    return (
        f"| {name}{note} | {size[0]}x{size[1]} | {batch} | {detections} | {max(r['box'] for r in results):.5f} "
        f"| {max(r['score'] for r in results):.1e} | {masks} "
        f"| {total('swaps')} | {total('moved')} | {total('halves')} |"
    )


# --------------------------------------------------------------------------------------------------------------- cases


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--maskcast", default="target/release/maskcast")
    parser.add_argument("--only", default="", help="models whose name, with a blank after it, contains this")
    parser.add_argument("--sizes", default="", help="sizes that contain this")
    parser.add_argument("--quick", action="store_true", help="320x320 alone, one picture")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows, informative, failed = [], [], 0
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        program = Program(arguments.maskcast, folder)
        for reference, sizes in references():
            if arguments.only not in (reference.name + " "):
                continue
            began = time.monotonic()
            reference.seed = arguments.seed
            reference.make(pictures((416, 320), 2))
            engine = program.engine(reference)
            print(f"{reference.name}: {reference.parameters} parameters, imported after {time.monotonic() - began:.0f} s", flush=True)
            plan = [(size, size, "") for size in sizes]
            if sizes == IDENTITY or reference.source == "detectron2":
                plan.append(((640, 480), (800, 1333), ", resized"))
            if reference.name == "maskrcnn_resnet18":
                # 322 * (800 / 322) is below 800 in f64 and not in f32.
                plan.append(((500, 322), (800, 1333), ", resized"))
            for size, edges, note in plan[:1] if arguments.quick else plan:
                if arguments.sizes not in f"{size[0]}x{size[1]}{note}":
                    continue
                began = time.monotonic()
                shown = pictures(size, 1 if arguments.quick else 3)
                paths = []
                for i, picture in enumerate(shown):
                    paths.append(folder / f"{i}.png")
                    Image.fromarray(picture).save(paths[-1])
                recipe = program.sized(engine, edges)
                whole = reference.answer(shown, edges)
                expected = {len(shown): whole}
                if size != IDENTITY[2]:  # the large one costs minutes
                    expected[1] = whole[:1]
                for batch, answers in expected.items():
                    ours = program.answers(recipe, paths[:batch], "--precision", "f32", "--paste", "torchvision", "--batch", batch)
                    results = [compare(o, a, reference.masks) for o, a in zip(ours, answers, strict=True)]
                    rows.append(row(reference.name, size, batch, results, note))
                    print(rows[-1], flush=True)
                    for i, r in enumerate(results):
                        print(
                            f"    picture {i}: {r['classes']} classes, scores {r['spread'][0]:.3f} to {r['spread'][1]:.3f},"
                            f" masks fill {r['fill']:.2f} of their boxes",
                            flush=True,
                        )
                        if past_the_bars(r):
                            failed += 1
                            print(
                                f"    PAST A BAR: {len(r['missing'])} missing {r['missing'][:3]}, {len(r['extra'])} extra"
                                f" {r['extra'][:3]}, {r['untied']} untied swaps, masks {r['unlike'][:5]}"
                            )
                if reference.masks and size == (640, 480) and not note:
                    informative += information(program, recipe, reference, paths[0], expected[1][0], size)
                print(f"    {time.monotonic() - began:.0f} s", flush=True)
    separator = "|---|---|---|---|---|---|---|---|---|---|---|"
    print("\n".join(["", HEADER, separator, *rows, "", "Without a bar:", "", HEADER, separator, *informative]))
    sys.exit(1 if failed else 0)


def information(program, recipe, reference, path, answer, size):
    """What other choices of ours change: the wire's own paste rule, and bf16."""
    found = {
        "the wire's paste": program.answers(recipe, [path], "--precision", "f32")[0],
        "bf16": program.answers(recipe, [path], "--precision", "bf16", "--paste", "torchvision")[0],
    }
    rows = []
    for what, o in found.items():
        r = compare(o, answer, True, lenient=True)
        rows.append(row(reference.name, size, 1, [r], f", {what}"))
        rows.append(row(reference.name, size, 1, [{**r, "ious": r["large"]}], f", {what}, masks of {LARGE_PX} px and more"))
    return rows


if __name__ == "__main__":
    main()
