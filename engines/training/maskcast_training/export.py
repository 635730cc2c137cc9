"""Weights out: fp16 safetensors under torchvision's names, and the facts beside them as JSON."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from .model import Facts, build


def export(state, facts, classes, path, notes=None):
    """state: a state_dict of `build(facts)`. Writes PATH and PATH with the suffix .json; replaced whole, never half."""
    path = Path(path)
    tensors = {}
    for name, value in state.items():
        if not name.endswith("num_batches_tracked"):
            tensors[name] = value.detach().float().cpu().clamp(-65504, 65504).half().contiguous()
    part = path.with_suffix(".part")
    save_file(tensors, str(part), metadata={"format": "pt", "arch": facts.arch})
    part.chmod(0o644)
    part.replace(path)
    channels = {f"layer{i}": tensors[f"backbone.body.layer{i}.0.conv1.weight"].shape[0] for i in (1, 2, 3, 4)}
    record = {"classes": classes, **facts.as_dict(), "stage_planes": channels} | (notes or {})
    path.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")


def restore(path):
    """-> (model in eval mode, fp32 from the fp16 weights; facts; classes)."""
    path = Path(path)
    record = json.loads(path.with_suffix(".json").read_text())
    fields = Facts.__dataclass_fields__
    facts = Facts(**{k: tuple(v) if isinstance(v, list) else v for k, v in record.items() if k in fields})
    model = build(facts)
    state = {k: v.float() for k, v in load_file(str(path)).items()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    missing = [m for m in missing if not m.endswith("num_batches_tracked")]
    if missing or unexpected:
        raise SystemExit(f"{path}: missing {missing}, unexpected {unexpected}")
    return model.eval().to(memory_format=torch.channels_last), facts, record["classes"]


def begin_from(model, path, say):
    """Takes from exported weights what has the same name and shape: another set of classes keeps trunk, pyramid and mask head."""
    own, given = model.state_dict(), load_file(str(path))
    taken = {k: v.float() for k, v in given.items() if k in own and own[k].shape == v.shape}
    if not taken:
        raise SystemExit(f"{path}: no tensor fits this architecture")
    model.load_state_dict(taken, strict=False)
    anew = sorted(k for k in own if k not in taken and not k.endswith("num_batches_tracked"))
    if say:
        print(f"{path}: {len(taken)} tensors taken, anew: {', '.join(anew) or 'none'}")
