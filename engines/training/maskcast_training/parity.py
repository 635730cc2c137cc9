"""Golden detections for another implementation to compare with: python -m maskcast_training.parity WEIGHTS IMAGE OUT.

Torchvision's answer in fp32 from the fp16 weights, at exactly the deployed settings.
"""

import json
import shutil
import sys
from pathlib import Path

import cv2

from .export import restore
from .model import detect


def main():
    weights, image, out = map(Path, sys.argv[1:4])
    model, facts, classes = restore(weights)
    out.mkdir(parents=True, exist_ok=True)
    target = out / "image.png"  # as decoded here: JPEG decoders differ by a bit
    pixels = cv2.imread(str(image))
    cv2.imwrite(str(target), pixels)
    pixels = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    boxes, scores, labels, masks = detect(model, facts, pixels)
    golden = {
        "weights": weights.name,
        "image": target.name,
        "facts": facts.as_dict(),
        "boxes_px_x0_y0_x1_y1": boxes.tolist(),
        "scores": scores.tolist(),
        "labels": labels.tolist(),
        "class_names": [classes[i - 1] for i in labels.tolist()],
        "masks_28x28_probability": masks[:, 0].tolist(),
    }
    shutil.copy(weights, out / "weights.safetensors")
    shutil.copy(weights.with_suffix(".json"), out / "weights.json")
    (out / "golden.json").write_text(json.dumps(golden))
    print(f"{len(scores)} detections, best {scores.max().item() if len(scores) else 0:.3f}, in {out / 'golden.json'}")


if __name__ == "__main__":
    main()
