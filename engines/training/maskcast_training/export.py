"""Weights out: fp16 safetensors under torchvision's names and the recipe beside them; and in again."""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from . import recipe
from .model import build


def export(state, facts, classes, path, provenance, figures=None):
    """state: a state_dict of `build(facts)`. Writes PATH (.safetensors) and PATH with the suffix .toml; replaced whole."""
    path = Path(path)
    tensors = {}
    for name, value in state.items():
        if not name.endswith("num_batches_tracked"):
            tensors[name] = value.detach().float().cpu().clamp(-65504, 65504).half().contiguous()
    part = path.with_suffix(".part")
    save_file(tensors, str(part), metadata={"format": "pt"})  # one key: several are written in any order
    part.chmod(0o644)
    part.replace(path)
    part.write_text(recipe.text_of(facts, classes, path, provenance, figures), encoding="utf-8")
    part.replace(path.with_suffix(".toml"))


def restore(path):
    """A recipe -> (model in eval mode, fp32 from the fp16 weights; facts; classes)."""
    facts, classes, weights = recipe.read(path)
    model = build(facts)
    state = {k: v.float() for k, v in tensors_of(weights).items()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    missing = [m for m in missing if not m.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise SystemExit(f"{weights}: missing {missing}, unexpected {unexpected}")
    return model.eval().to(memory_format=torch.channels_last), facts, classes


def tensors_of(path):
    try:
        return load_file(str(path))
    except (OSError, SafetensorError) as fault:
        raise SystemExit(f"{path}: no weights can be read from it: {fault}")


def begin_from(model, path, say):
    """Takes from exported weights what has the same name and shape: another set of classes keeps trunk, pyramid and mask head.

    -> the share of the parameters that was taken.
    """
    own, given = model.state_dict(), tensors_of(path)
    taken = {k: v.float() for k, v in given.items() if k in own and own[k].shape == v.shape}
    if not taken:
        raise SystemExit(f"{path}: no tensor fits this architecture")
    model.load_state_dict(taken, strict=False)
    anew = sorted(k for k in own if k not in taken and not k.endswith("num_batches_tracked"))
    if say:
        print(f"{path}: {len(taken)} tensors taken, anew: {shortened(anew)}", flush=True)
    return sum(v.numel() for v in taken.values()) / sum(v.numel() for v in own.values())


def shortened(names):
    parts = sorted({".".join(name.split(".")[:3]) for name in names})
    return ", ".join(parts) or "none"
