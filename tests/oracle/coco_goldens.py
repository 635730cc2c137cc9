"""Makes tests/data/coco_eval_goldens.json and tests/data/coco_polygons.json with pycocotools 2.0.11, numpy 2.4.6.

    python tests/oracle/coco_goldens.py tests/data

Everything is drawn from fixed seeds: running it again gives the same bytes.
"""

import contextlib
import io
import json
import random
import sys
from pathlib import Path

import numpy as np
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


OTHER_MOST = (12, 150)  # detections an image and class, instead of COCO's 100


def evaluate(truth, results, kind, most=100):
    """The twelve numbers with `most` detections an image and class, then AP by category id."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = json.loads(json.dumps(truth))
        coco.createIndex()
        detections = coco.loadRes(json.loads(json.dumps(results)))
        e = COCOeval(coco, detections, kind)
        e.params.maxDets = [1, 10, most]
        e.evaluate()
        e.accumulate()
        e.summarize()
    precision = e.eval["precision"][:, :, :, 0, -1]  # [T, R, K]
    by_class = [float(p[p > -1].mean()) if (p > -1).any() else -1.0 for p in np.moveaxis(precision, 2, 0)]
    stats = [float(v) for v in e.stats]
    if most != 100:  # summarize() looks for 100 there, finds none, and says -1
        stats[0] = float(precision[precision > -1].mean()) if (precision > -1).any() else -1.0
    return {"stats": stats, "ap_by_class": by_class}


def text(rle):
    return {"size": [int(v) for v in rle["size"]], "counts": rle["counts"].decode()}


def counts_list(rle):
    """Uncompressed counts of an RLE."""
    flat = coco_mask.decode(rle).flatten(order="F")
    counts, current = [0], 0
    for v in flat:
        if v != current:
            counts.append(0)
            current = v
        counts[-1] += 1
    return {"size": [int(v) for v in rle["size"]], "counts": counts}


def blob(rng, h, w, cx, cy, r, corners=9):
    """A star-shaped polygon; may reach over the border."""
    points = []
    for k in range(corners):
        angle = 2 * np.pi * k / corners
        d = r * rng.uniform(0.6, 1.3)
        points += [round(cx + d * np.cos(angle), 2), round(cy + d * np.sin(angle), 2)]
    return points


def box_of(rle):
    return [float(v) for v in coco_mask.toBbox(rle)]


def scene(seed, images, sizes, classes, mean_objects, score_steps):
    """A data set and noisy results with everything an evaluator can trip over."""
    rng = random.Random(seed)
    truth = {
        "images": [],
        "annotations": [],
        "categories": [{"id": 3 * k + 1, "name": f"class {k}"} for k in range(classes)],
    }
    boxes, masks = [], []
    next_id = 1
    for n in range(images):
        h, w = rng.choice(sizes)
        image_id = 1000 - 7 * n  # not in order
        truth["images"].append({"id": image_id, "width": w, "height": h, "file_name": f"{n}.png"})
        if n % 6 == 5:
            objects = 0
        else:
            objects = rng.randint(0, 2 * mean_objects)
        for _ in range(objects):
            category = 3 * rng.randrange(classes - 1) + 1  # the last class has no truth
            r = rng.choice([2, 5, 9, 20, 45, 90]) * min(h, w) / 200
            cx, cy = rng.uniform(-5, w + 5), rng.uniform(-5, h + 5)
            polygons = [blob(rng, h, w, cx, cy, r)]
            if rng.random() < 0.2:
                polygons.append(blob(rng, h, w, cx + r, cy + r, r / 2, 4))
            rle = coco_mask.merge(coco_mask.frPyObjects(polygons, h, w))
            area = float(coco_mask.area(rle))
            crowd = int(rng.random() < 0.15)
            form = rng.randrange(3)
            segmentation = [polygons, text(rle), counts_list(rle)][form if not crowd else 1 + form % 2]
            annotation = {
                "id": next_id,
                "image_id": image_id,
                "category_id": category,
                "bbox": box_of(rle),
                "area": area,
                "segmentation": segmentation,
            }
            if crowd or rng.random() < 0.8:
                annotation["iscrowd"] = crowd
            else:
                annotation["iscrowd"] = 0
            if rng.random() < 0.1:
                annotation["ignore"] = 1  # read by nobody
            truth["annotations"].append(annotation)
            next_id += 1
            # Detections of it: missed, found, found twice, found as something else.
            for _ in range(rng.choice([0, 1, 1, 1, 2, 3])):
                shift = rng.choice([0.0, 0.05, 0.15, 0.4]) * r
                moved = [[v + rng.uniform(-1, 1) * shift for v in p] for p in polygons]
                found = coco_mask.merge(coco_mask.frPyObjects(moved, h, w))
                what = category if rng.random() < 0.9 else 3 * rng.randrange(classes) + 1
                score = rng.randrange(score_steps) / score_steps  # many ties
                bx = box_of(found)
                if rng.random() < 0.3:
                    bx = box_of(rle)  # IoU of exactly 1
                boxes.append({"image_id": image_id, "category_id": what, "bbox": bx, "score": score})
                masks.append({"image_id": image_id, "category_id": what, "segmentation": text(found), "score": score})
        for _ in range(rng.randrange(3)):
            what = 3 * rng.randrange(classes) + 1
            rle = coco_mask.merge(
                coco_mask.frPyObjects([blob(rng, h, w, rng.uniform(0, w), rng.uniform(0, h), rng.uniform(1, 60))], h, w)
            )
            score = rng.randrange(score_steps) / score_steps
            boxes.append({"image_id": image_id, "category_id": what, "bbox": box_of(rle), "score": score})
            masks.append({"image_id": image_id, "category_id": what, "segmentation": text(rle), "score": score})
    return truth, boxes, masks


def crowded(seed):
    """More than a hundred detections of one class in one image, exact overlaps at thresholds, a big crowd."""
    rng = random.Random(seed)
    h, w = 120, 160
    square = lambda x, y, a, b: [[x, y, x, y + b, x + a, y + b, x + a, y]]
    truth = {
        "images": [{"id": 1, "width": w, "height": h}, {"id": 2, "width": w, "height": h}],
        "categories": [{"id": 5, "name": "part"}, {"id": 2, "name": "never"}],
        "annotations": [],
    }
    for k in range(60):
        x, y = 10 * (k % 12), 20 * (k // 12)
        polygons = square(x, y, 10, 20)
        truth["annotations"].append(
            {
                "id": k + 1,
                "image_id": 1,
                "category_id": 5,
                "bbox": [x, y, 10, 20],
                "area": 200.0,
                "iscrowd": int(k % 10 == 9),
                "segmentation": polygons
                if k % 10 != 9
                else counts_list(coco_mask.merge(coco_mask.frPyObjects(polygons, h, w))),
            }
        )
    boxes, masks = [], []
    for k in range(180):
        x, y = 10 * (k % 12), 20 * ((k // 12) % 5)
        part = rng.choice([10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20])  # IoU 0.50, 0.55, ... exactly
        score = rng.randrange(4) / 4
        boxes.append({"image_id": 1, "category_id": 5, "bbox": [x, y, 10, part], "score": score})
        rle = coco_mask.merge(coco_mask.frPyObjects(square(x, y, 10, part), h, w))
        masks.append({"image_id": 1, "category_id": 5, "segmentation": text(rle), "score": score})
    return truth, boxes, masks


def cases():
    sizes = [(200, 300), (113, 97), (1, 50), (33, 1), (480, 640)]
    yield "mixed", scene(1, 14, sizes, 4, 4, 7)
    yield "one class, few", scene(2, 5, [(64, 64)], 2, 1, 3)
    yield "many, fine scores", scene(3, 10, [(240, 320)], 6, 8, 1000)
    yield "crowded", crowded(4)
    truth, boxes, masks = scene(5, 4, [(90, 70)], 3, 3, 5)
    yield "one detection only", (truth, boxes[:1], masks[:1])
    truth, boxes, masks = scene(6, 4, [(90, 70)], 3, 3, 5)
    yield "nothing to find", ({**truth, "annotations": []}, boxes, masks)


def evaluation_goldens():
    out = []
    for name, (truth, boxes, masks) in cases():
        both = [{**m, "bbox": b["bbox"]} for b, m in zip(boxes, masks)]
        out.append(
            {
                "name": name,
                "truth": truth,
                "results": both,
                "boxes_alone": evaluate(truth, boxes, "bbox"),
                "masks_alone": evaluate(truth, masks, "segm"),
                "masks_as_boxes": evaluate(truth, masks, "bbox"),
                "both_as_masks": evaluate(truth, both, "segm"),
                "boxes_at": {str(most): evaluate(truth, boxes, "bbox", most) for most in OTHER_MOST},
                "masks_at": {str(most): evaluate(truth, masks, "segm", most) for most in OTHER_MOST},
            }
        )
    return out


def hostile(rng):
    """(h, w, polygons) of every kind that has once broken a rasteriser."""
    yield 10, 10, [[0, 0, 0, 10, 10, 10, 10, 0]]
    yield 10, 10, [[-5, -5, -5, 15, 15, 15, 15, -5]]  # all round the picture
    yield 10, 10, [[3, 3, 3, 3, 3, 3]]  # one point
    yield 10, 10, [[1, 1, 8, 8, 1, 1]]  # a line and back
    yield 10, 10, [[1, 5, 8, 5, 4, 5]]  # a flat line
    yield 10, 10, [[5, 1, 5, 8, 5, 4]]  # an upright line
    yield 10, 10, [[2, 2, 8, 8, 8, 2, 2, 8]]  # crosses itself
    yield 10, 10, [[20, 20, 30, 20, 30, 30, 20, 30]]  # outside
    yield 10, 10, [[-30, 2, -20, 2, -20, 8, -30, 8]]
    yield 10, 10, [[2, -30, 8, -30, 8, -20, 2, -20]]
    yield 10, 10, [[0.5, 0.5, 0.5, 9.5, 9.5, 9.5, 9.5, 0.5]]
    yield 10, 10, [[0.4999, 0.5001, 0.5, 9.49, 9.51, 9.5, 9.5, 0.499]]
    yield 1, 1, [[0, 0, 1, 0, 1, 1, 0, 1]]
    yield 1, 40, [[3, 0, 30, 0, 30, 1, 3, 1]]
    yield 40, 1, [[0, 3, 1, 3, 1, 30, 0, 30]]
    yield 17, 23, [[1, 1, 2, 1, 2, 2], [1, 1, 20, 1, 20, 15], [5, 5, 6, 16, 22, 3]]
    yield 17, 23, [[0, 0, 23, 17, 0, 17], [4, 4, 9, 9]]  # a second "polygon" of two corners
    yield 50, 50, [[-1000, 25, 25, -1000, 1000, 25, 25, 1000]]
    yield 50, 50, [[-100000, -100000, 100000, -99999, 100000, 100000]]
    yield 50, 50, [[10, 10, 10.1, 40, 10.2, 10, 10.3, 40, 10.4, 10, 40, 39]]
    yield 50, 50, [[49.9, 49.9, 60, 49.9, 60, 60, 49.9, 60]]
    yield 7, 5, [[0, 6.5, 5, 6.5, 5, 9, 0, 9]]  # below the last row's middle
    for _ in range(30):  # corners on the fine grid's halves
        h, w = rng.randint(1, 30), rng.randint(1, 30)
        yield h, w, [[rng.randint(-20, 160) / 10 for _ in range(2 * rng.randint(3, 8))]]
    for _ in range(50):  # wild
        h, w = rng.randint(1, 60), rng.randint(1, 60)
        yield h, w, [
            [rng.uniform(-0.5 * w, 1.5 * w) if k % 2 == 0 else rng.uniform(-0.5 * h, 1.5 * h) for k in range(2 * rng.randint(3, 20))]
            for _ in range(rng.randint(1, 3))
        ]
    for _ in range(60):  # as annotators draw
        h, w = rng.randint(20, 200), rng.randint(20, 200)
        yield h, w, [blob(rng, h, w, rng.uniform(0, w), rng.uniform(0, h), rng.uniform(2, 60), rng.randint(3, 24))]
    for _ in range(40):  # thin, steep and flat
        h, w = rng.randint(5, 80), rng.randint(5, 80)
        x, y = rng.uniform(0, w), rng.uniform(0, h)
        a, b = rng.choice([(60, 0.3), (0.3, 60), (40, 2), (1, 1)])
        p = [x, y, x + a * rng.uniform(-1, 1), y + b * rng.uniform(-1, 1), x + a * rng.uniform(-1, 1), y + b * rng.uniform(-1, 1)]
        yield h, w, [[round(v, 3) for v in p]]


def polygon_goldens():
    out = []
    for h, w, polygons in hostile(random.Random(11)):
        rle = coco_mask.merge(coco_mask.frPyObjects(polygons, h, w))
        out.append({"size": [h, w], "polygons": polygons, "counts": rle["counts"].decode(), "area": int(coco_mask.area(rle))})
    return out


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in (("coco_eval_goldens", evaluation_goldens()), ("coco_polygons", polygon_goldens())):
        lines = ",\n".join(json.dumps(v, separators=(",", ":")) for v in value)
        (folder / f"{name}.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
