"""COCO annotation files as people have them: read, held against the pictures, and made plain.

What is wrong with the whole (no JSON, no pictures) ends the run with a sentence; what is wrong with a picture or an object
leaves it out, named and counted. Category ids may be anything: classes are 1..n in order of id, 0 is the background.
"""

import json
import math
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image
from pycocotools import mask as coco_mask

NAMED = 3  # of each fault, so many are shown

Image.MAX_IMAGE_PIXELS = None  # a large picture is no attack here


@dataclass
class Object:
    label: int  # 1..n
    outline: object  # polygons, or run lengths, as the file has them
    box: tuple  # x0 y0 width height, source px
    area: float
    crowd: bool = False


@dataclass
class Picture:
    id: int
    file_name: str
    width: int
    height: int
    objects: list = field(default_factory=list)  # crowds left out
    crowds: list = field(default_factory=list)
    stamp: tuple = ()  # bytes and time of the file: another file of this name is another picture


class Left:
    """What was left out, by reason."""

    def __init__(self):
        self.reasons = {}

    def add(self, what, which):
        self.reasons.setdefault(what, []).append(str(which))

    def __str__(self):
        parts = []
        for what, found in self.reasons.items():
            more = ", ..." if len(found) > NAMED else ""
            parts.append(f"{len(found)} {what} ({', '.join(found[:NAMED])}{more})")
        return "; ".join(parts)


@dataclass
class Annotations:
    path: Path
    folder: Path
    classes: list  # names; position + 1 = label
    pictures: list
    left: Left

    def objects(self):
        return sum(len(p.objects) for p in self.pictures)

    def __str__(self):
        text = f"{self.path}: {len(self.pictures)} pictures, {self.objects()} objects of {len(self.classes)} classes"
        empty = sum(not p.objects for p in self.pictures)
        text += f", {empty} pictures without any" if empty else ""
        return text + (f"\n  left out: {self.left}" if self.left.reasons else "")


def read(path, folder, classes=None):
    """-> Annotations. `classes`: the names to follow (those of the training part), whatever the ids here."""
    path, folder = Path(path), Path(folder)
    data = load(path)
    names, label_of = classes_of(path, data["categories"], classes)
    if not folder.is_dir():
        raise SystemExit(f"{folder}: not a folder (--images)")
    left, by_id = Left(), {}
    for entry in data["images"]:
        picture = picture_of(entry, folder, left)
        if picture is not None:
            if picture.id in by_id:
                raise SystemExit(f"{path}: two images have the id {picture.id}")
            by_id[picture.id] = picture
    if not by_id:
        first = f"; the first: {left}" if left.reasons else ""
        raise SystemExit(f"{path}: none of its {len(data['images'])} images can be used from {folder}{first}")
    known = {entry.get("id") for entry in data["images"]}
    for entry in data["annotations"]:
        add_object(entry, by_id, known, label_of, left)
    whole = Annotations(path, folder, names, sorted(by_id.values(), key=lambda p: p.id), left)
    if not whole.objects():
        raise SystemExit(f"{whole}\n{path}: no object to learn from")
    return whole


def load(path):
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as fault:
        raise SystemExit(f"{path}: {fault.strerror or fault}")
    except UnicodeDecodeError as fault:
        raise SystemExit(f"{path}: not JSON: byte {fault.start} is not UTF-8")
    except json.JSONDecodeError as fault:
        raise SystemExit(f"{path}:{fault.lineno}:{fault.colno}: not JSON: {fault.msg}")
    for key in ("images", "annotations", "categories"):
        if not isinstance(data, dict) or not isinstance(data.get(key), list):
            raise SystemExit(f'{path}: no list "{key}": expected COCO\'s format (images, annotations, categories)')
        if not all(isinstance(entry, dict) for entry in data[key]):
            raise SystemExit(f'{path}: "{key}" holds something that is not an object: expected COCO\'s format')
    return data


def classes_of(path, categories, follow=None):
    """-> (names in order of id, {category id: label})."""
    try:
        found = sorted((int(c["id"]), str(c["name"]).strip()) for c in categories)
    except (KeyError, TypeError, ValueError):
        raise SystemExit(f"{path}: a category without a number as id, or without a name")
    if not found:
        raise SystemExit(f"{path}: no categories")
    names = [name for _, name in found]
    for what, values in (("id", [i for i, _ in found]), ("name", names)):
        twice = next((v for i, v in enumerate(values) if v in values[:i]), None)
        if twice is not None:
            raise SystemExit(f"{path}: two categories have the {what} {twice!r}")
    if "" in names:
        raise SystemExit(f"{path}: a category without a name")
    if follow is None:
        return names, {number: label for label, (number, _) in enumerate(found, 1)}
    if sorted(follow) != sorted(names):
        expected = f"expected those of the training part: {', '.join(follow)}"
        raise SystemExit(f"{path}: its classes are {', '.join(names)}; {expected}")
    return list(follow), {number: follow.index(name) + 1 for number, name in found}


def picture_of(entry, folder, left):
    """An entry of "images", held against its file; only the head of the file is read."""
    name = entry.get("file_name")
    if not isinstance(name, str) or not name or not isinstance(entry.get("id"), int):
        left.add("image entries without a file_name, or a number as id", entry.get("id"))
        return None
    file = folder / name
    try:
        stat = file.stat()
        with Image.open(file) as head:
            width, height = head.size  # as stored: rotation tags are not applied, neither here nor when deployed
    except FileNotFoundError:
        left.add(f"pictures not in {folder}", name)
        return None
    except (OSError, SyntaxError, ValueError):
        left.add("files that are no picture", name)
        return None
    said = (entry.get("width", width), entry.get("height", height))
    if said != (width, height):
        turned = ", turned by its rotation tag" if said == (height, width) else ""
        which = f"{name} is {width}x{height}, not {said[0]}x{said[1]}{turned}"
        left.add("pictures of another size than the annotations say", which)
        return None
    return Picture(entry["id"], name, width, height, stamp=(stat.st_size, stat.st_mtime_ns))


def is_number(value):
    """Python's JSON takes NaN and Infinity."""
    return isinstance(value, (int, float)) and math.isfinite(value)


def add_object(entry, by_id, known, label_of, left):
    which = entry.get("id", "no id")
    if any(isinstance(entry.get(key), (list, dict)) for key in ("image_id", "category_id")):
        return left.add("annotations whose image_id or category_id is no number", which)
    if entry.get("image_id") not in known:
        return left.add("annotations of an image that is not listed", which)
    picture = by_id.get(entry["image_id"])
    if picture is None:
        return None  # left out with its picture, which was named
    label = label_of.get(entry.get("category_id"))
    if label is None:
        return left.add("annotations of a category that is not listed", which)
    outline = outline_of(entry.get("segmentation"), picture.height, picture.width)
    if outline is None:
        return left.add("annotations without a usable segmentation", which)
    box = entry.get("bbox")
    if not (isinstance(box, list) and len(box) == 4 and all(is_number(v) for v in box)):
        box = coco_mask.toBbox(rle_of(outline, picture.height, picture.width)).tolist()
    area = entry.get("area")
    if not is_number(area):
        area = float(coco_mask.area(rle_of(outline, picture.height, picture.width)))
    crowd = bool(entry.get("iscrowd"))
    (picture.crowds if crowd else picture.objects).append(Object(label, outline, tuple(map(float, box)), float(area), crowd))
    return None


def outline_of(segmentation, height, width):
    """The segmentation if it is one: polygons of three points or more, or run lengths of this picture's size; else None."""
    if isinstance(segmentation, list):
        polygons = [p for p in segmentation if isinstance(p, list) and len(p) >= 6 and len(p) % 2 == 0]
        if polygons and all(isinstance(v, (int, float)) and abs(v) < 1e6 for p in polygons for v in p):
            return polygons
        return None
    if not isinstance(segmentation, dict) or segmentation.get("size") not in ([height, width], (height, width)):
        return None
    counts = segmentation.get("counts")
    try:
        if isinstance(counts, list):
            whole = all(isinstance(c, int) and c >= 0 for c in counts) and sum(counts) == height * width
            return {"size": [height, width], "counts": counts} if whole else None
        outline = {"size": [height, width], "counts": counts}
        return outline if runs_add_up(counts, height * width) else None
    except (TypeError, ValueError):
        return None


def runs_add_up(text, pixels):
    """Whether COCO's compressed run lengths cover the picture exactly: its decoder trusts them."""
    runs, value, shift = [], 0, 0
    for byte in text.encode() if isinstance(text, str) else text:
        five = byte - 48
        if not 0 <= five < 64:
            return False
        value |= (five & 31) << shift
        shift += 5
        if not five & 32:
            if five & 16:
                value -= 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            if runs[-1] < 0:
                return False
            value, shift = 0, 0
    return shift == 0 and sum(runs) == pixels


def rle_of(outline, height, width):
    """Polygons, uncompressed or compressed run lengths -> compressed run lengths."""
    if isinstance(outline, list):
        return coco_mask.merge(coco_mask.frPyObjects(outline, height, width))
    if isinstance(outline["counts"], list):
        return coco_mask.frPyObjects(outline, height, width)
    return outline


def as_coco(pictures, classes):
    """The same pictures as a plain COCO file: classes 1..n, every entry whole."""
    annotations = []
    for picture in pictures:
        for thing in picture.objects + picture.crowds:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": picture.id,
                    "category_id": thing.label,
                    "bbox": list(thing.box),
                    "area": thing.area,
                    "iscrowd": int(thing.crowd),
                    "segmentation": thing.outline,
                }
            )
    return {
        "images": [
            {"id": p.id, "file_name": p.file_name, "width": p.width, "height": p.height} for p in pictures
        ],
        "annotations": annotations,
        "categories": [{"id": label, "name": name} for label, name in enumerate(classes, 1)],
    }
