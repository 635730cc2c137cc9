"""Whether a short run learns: python -m maskcast_training.learning --maskcast PATH --out DIR [--minutes 5] [--device cuda]

400 pictures of the simulated camera, random weights, judged on pictures of their own before and after. Ends with 1 where the
mask AP50 has not risen by RISE. Its engine, DIR/learned/learned.toml, serves tests/oracle/training_parity.py.
"""

import argparse
import csv
import subprocess
import sys
from pathlib import Path

from .cli import main as train

RISE = 0.1
PICTURES, SIZE = 400, "320x240"


def synth(program, seed, count, folder):
    if not (folder / "annotations.json").exists():
        words = ["synth", "--seed", str(seed), "--count", str(count), "--size", SIZE, "--objects", "8", "--out", str(folder)]
        subprocess.run([program, *words], check=True, stdout=subprocess.DEVNULL)
    return str(folder / "annotations.json"), str(folder / "images")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--maskcast", required=True)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--minutes", type=float, default=5)
    p.add_argument("--device", default="cpu")
    o = p.parse_args()
    o.out.mkdir(parents=True, exist_ok=True)
    coco, images = synth(o.maskcast, 620_000_000, PICTURES, o.out / "train")
    val_coco, val_images = synth(o.maskcast, 630_000_000, 60, o.out / "val")
    words = ["--coco", coco, "--images", images, "--val-coco", val_coco, "--val-images", val_images]
    words += ["--out", str(o.out / "learned"), "--init", "none", "--minutes", str(o.minutes), "--device", o.device]
    train(words)
    with open(o.out / "learned" / "ap.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    before, after = (float(row["mask_ap50"]) for row in (rows[0], rows[-1]))
    print(f"mask AP50 {before:.3f} before, {after:.3f} after {rows[-1]['step']} steps")
    print(f"curves: {o.out / 'learned' / 'curve.png'}")
    if not after >= before + RISE:
        sys.exit(f"it has not learned: expected a rise of {RISE}")


if __name__ == "__main__":
    main()
