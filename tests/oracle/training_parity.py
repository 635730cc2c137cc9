"""An engine judged by the program that trained it and by maskcast, on the same pictures: the AP must be the same.

    make training-parity                                  torch and the other packages of engines/training/requirements.txt
    python tests/oracle/training_parity.py --maskcast target/release/maskcast [--engine engines/mine/mine.toml]

Writes pictures of the simulated camera (or takes --coco and --images), judges them in Python (`maskcast_training`, torchvision's
network in fp32, pycocotools) and by `maskcast eval` in f32. Bar: 0.2 points of mask and box AP; ends with 1 past it.

With --record it writes Python's figures of the bundled engine to tests/data/training_ap.json, which `make test` holds against
the Rust side without torch. To be done whenever engines/conveyor.safetensors is replaced: make training-parity RECORD=--record
"""

import argparse
import hashlib
import json
import pathlib
import re
import subprocess
import sys
import tempfile

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "engines/training"))

import torch  # noqa: E402
from maskcast_training import annotations, recipe  # noqa: E402
from maskcast_training.evaluate import average_precision, results_of, truth_of  # noqa: E402
from maskcast_training.export import restore  # noqa: E402

BAR = 0.002
RECORD = REPOSITORY / "tests/data/training_ap.json"
RECORDED = {"seed": 800_000_000, "count": 40, "size": "640x480"}


def call(program, *arguments):
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{program} {' '.join(map(str, arguments))}\n{done.stderr}")
    return done.stdout


def in_python(engine, coco, images):
    model, facts, classes = restore(engine)
    data = annotations.read(coco, images, classes)
    rows, damaged = results_of(model, facts, data.folder, data.pictures)
    ids = [p.id for p in data.pictures if p.id not in damaged]
    figures, _ = average_precision(truth_of(data.pictures, data.classes), rows, ids)
    return len(ids), figures["box_ap"], figures["mask_ap"]


def in_rust(program, engine, coco, images, folder):
    """The same recipe in f32, beside nothing: its weights by their full path."""
    text = re.sub(r"(?m)^(scale_table|self_test) = .*\n", "", engine.read_text())
    text, count = re.subn(r'(?m)^precision = "\w+"', 'precision = "f32"', text)
    assert count == 1, f"{engine}: no line precision"
    weights = recipe.read(engine)[2].resolve()
    text, count = re.subn(r"(?m)^file = .*$", lambda _: f"file = {json.dumps(str(weights))}", text)
    assert count == 1, f"{engine}: no line file"
    path = folder / "f32.toml"
    path.write_text(text)
    scores = json.loads(call(program, "eval", "--json", "--engine", path, "--coco", coco, "--images", images))
    return scores["boxes"]["stats"][0], scores["masks"]["stats"][0]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--maskcast", required=True)
    p.add_argument("--engine", type=pathlib.Path, default=REPOSITORY / "engines/conveyor.toml")
    p.add_argument("--coco", type=pathlib.Path)
    p.add_argument("--images", type=pathlib.Path)
    p.add_argument("--seed", type=int, default=RECORDED["seed"])
    p.add_argument("--count", type=int, default=100)
    p.add_argument("--size", default=RECORDED["size"])
    p.add_argument("--record", action="store_true")
    o = p.parse_args()
    torch.set_num_threads(2)
    if o.record:
        o.seed, o.count, o.size = RECORDED.values()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        if o.coco is None:
            call(o.maskcast, "synth", "--seed", o.seed, "--count", o.count, "--size", o.size, "--out", folder)
            o.coco, o.images = folder / "annotations.json", folder / "images"
        count, *python = in_python(o.engine, o.coco, o.images)
        rust = in_rust(o.maskcast, o.engine, o.coco, o.images, folder)
    print(f"{o.engine}: {count} pictures\n        Python   maskcast  difference, points")
    for name, a, b in zip(("box AP", "mask AP"), python, rust):
        print(f"{name:7} {a:.4f}   {b:.4f}    {100 * (b - a):+.3f}{'  past the bar' if abs(a - b) > BAR else ''}")
    if any(abs(a - b) > BAR for a, b in zip(python, rust)):
        sys.exit(1)
    if o.record:
        digest = hashlib.sha256(recipe.read(o.engine)[2].read_bytes()).hexdigest()
        record = {
            "made_by": "make training-parity RECORD=--record",
            "engine": str(o.engine.resolve().relative_to(REPOSITORY)),
            "weights_sha256": digest,
            "synth": RECORDED,
            "box_ap": round(python[0], 5),
            "mask_ap": round(python[1], 5),
        }
        RECORD.write_text(json.dumps(record, indent=2) + "\n")
        print(f"wrote {RECORD.relative_to(REPOSITORY)}")


if __name__ == "__main__":
    main()
