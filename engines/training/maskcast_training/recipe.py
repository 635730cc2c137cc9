"""The recipe (TOML) beside exported weights: all that maskcast needs to know of a network, as engines/conveyor.toml has it.

Written by a template of its own and read by Python's tomllib: nothing here depends on the Rust side. What a recipe may say is in
src/model/recipe/written.rs.
"""

import hashlib
import json
import os
import re
import tomllib
from pathlib import Path

from .model import Facts, planes_of

TEMPLATE = """\
# Written by maskcast_training.
name = {name}
classes = {classes}

[network]
kind = "mask_rcnn"
backbone = {backbone}
stage_planes = {stage_planes}
fpn_width = {fpn_width}
representation_size = {representation_size}
anchor_sizes_px = {anchor_sizes}  # P2 P3 P4 P5 pool, network px
anchor_ratios = {anchor_ratios}  # height / width
canonical_scale_px = {canonical_scale}
canonical_level = {canonical_level}
sampling_ratio = {roi_sampling_ratio}

[input]
size = {size}
channels = "rgb"
mean = {image_mean}
std = {image_std}

[weights]
file = {file}
sha256 = {sha256}
licence = {licence}
origin = {origin}
data = {data}
command = {command}
{figures}
[test]
pre_nms_top_n = {rpn_pre_nms_top_n}
post_nms_top_n = {rpn_post_nms_top_n}
rpn_nms_threshold = {rpn_nms_threshold}
score_threshold = {score_threshold}
nms_threshold = {nms_threshold}
detections = {detections_per_image}

[executor]
precision = "bf16"  # f32 where the processor has no bf16
# int8, about 1.5 times as fast: precision = "int8" and scale_table = {table}, then `maskcast calibrate`
"""


def toml(value):
    """A string, a whole or real number, or a list of them, as TOML."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(toml(v) for v in value) + "]"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{value!r} is no string, number or list")
    return repr(value)  # repr gives 1e-05, inf and nan as TOML has them


def text_of(facts, classes, weights, provenance, figures=None):
    """-> the recipe of the file `weights`. provenance: licence, origin, data, command; figures: name -> number or string."""
    backbone, planes, width = planes_of(facts.arch)
    table = ""
    if figures:
        table = "\n[weights.figures]  # on pictures that were never trained on; by the training program, f32\n"
        table += "".join(f"{name} = {toml(value)}\n" for name, value in figures.items())
    values = facts.as_dict() | provenance
    values |= {
        "name": weights.stem,
        "classes": list(classes),
        "backbone": backbone,
        "stage_planes": planes,
        "fpn_width": width,
        "size": f"{facts.input_width}x{facts.input_height}",
        "file": weights.name,
        "table": f"{weights.stem}.int8.toml",
        "sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
    }
    return TEMPLATE.format(**{k: toml(v) for k, v in values.items()}, figures=table)


def read(path):
    """-> (Facts, classes, path of the weights), of a recipe of this package or one that says no more than it could."""
    path = Path(path)
    try:
        said = tomllib.loads(path.read_text(encoding="utf-8"))
        network, test = said["network"], said["test"]
        others = {"conventions": "torchvision", "layout": "v1", "kind": "mask_rcnn"}
        wrong = [k for k, v in others.items() if network.get(k, v) != v]
        planes = list(network.get("stage_planes", (64, 128, 256, 512)))
        if wrong or planes[:3] != [64, 128, 256] or said["input"]["channels"] != "rgb":
            raise SystemExit(f"{path}: not a network of this package: {wrong or planes}")
        last = "" if planes[3] == 512 else f"c{planes[3]}"
        width, height = map(int, said["input"]["size"].split("x"))
        facts = Facts(
            arch=f"{network['backbone']}{last}-fpn{network['fpn_width']}",
            num_classes=len(said["classes"]) + 1,
            input_width=width,
            input_height=height,
            anchor_sizes=tuple(network["anchor_sizes_px"]),
            anchor_ratios=tuple(network["anchor_ratios"]),
            canonical_scale=network["canonical_scale_px"],
            canonical_level=network["canonical_level"],
            representation_size=network["representation_size"],
            roi_sampling_ratio=network["sampling_ratio"],
            rpn_pre_nms_top_n=test["pre_nms_top_n"],
            rpn_post_nms_top_n=test["post_nms_top_n"],
            rpn_nms_threshold=test["rpn_nms_threshold"],
            score_threshold=test["score_threshold"],
            nms_threshold=test["nms_threshold"],
            detections_per_image=test["detections"],
            image_mean=tuple(said["input"]["mean"]),
            image_std=tuple(said["input"]["std"]),
        )
        return facts, said["classes"], path.parent / said["weights"]["file"]
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as fault:
        raise SystemExit(f"{path}: {fault}")
    except KeyError as fault:
        raise SystemExit(f"{path}: no {fault.args[0]}: expected a recipe as maskcast_training writes it")


def command_of(arguments, folder=None):
    """The command line as given, for people elsewhere: absolute paths become relative, or their last part alone."""
    folder = Path(folder or os.getcwd())

    def plain(path):
        given = Path(path)
        return str(given.relative_to(folder)) if given.is_relative_to(folder) else given.name

    def shown(word):
        name, equals, value = word.rpartition("=") if word.startswith("--") else ("", "", word)
        value = plain(value) if os.path.isabs(value) else value
        quoted = value if re.fullmatch(r"[\w@%+=:,./-]+", value) else "'" + value.replace("'", "'\\''") + "'"
        return name + equals + quoted

    return " ".join(["python -m maskcast_training", *map(shown, arguments)])
