"""Checkpoints: all that a run needs to go on as if it had never stopped.

OUT/checkpoint.pt holds what the processes share and what is rank 0's; checkpoint-R.pt what is rank R's alone (its optimizer and
random numbers). One of another step is not used: that process then goes on with rank 0's optimizer.
"""

import sys

import torch

SHARED = "checkpoint.pt"


def own_file(rank):
    return SHARED if rank == 0 else f"checkpoint-{rank}.pt"


def save(trainer):
    path = trainer.options.out / own_file(trainer.rank)
    state = {
        "step": trainer.step,
        "optimizer": trainer.optimizer.state_dict(),
        "random": torch.get_rng_state(),
    }
    if trainer.device.type == "cuda":
        state["random_cuda"] = torch.cuda.get_rng_state(trainer.device)
    if trainer.rank == 0:
        state |= {
            "model": trainer.model.state_dict(),
            "ema": trainer.ema.state_dict(),
            "elapsed": trainer.elapsed,
            "facts": trainer.facts.as_dict(),
            "classes": list(trainer.held_out.classes),
        }
    part = path.with_suffix(".part")
    torch.save(state, part)
    part.replace(path)


def load(trainer):
    """Goes on from OUT/checkpoint.pt where there is one."""
    path = trainer.options.out / SHARED
    if not path.exists():
        return
    saved = read(path, trainer.device)
    now = trainer.facts.as_dict() | {"classes": list(trainer.held_out.classes)}
    then = saved["facts"] | {"classes": saved["classes"]}
    for key, value in now.items():
        if value != then.get(key):
            raise SystemExit(f"{path}: made with {key} {then.get(key)}, now {value}: give the same options, or another --out")
    trainer.model.load_state_dict(saved["model"])
    trainer.ema.load_state_dict(saved["ema"])
    trainer.step, trainer.elapsed = saved["step"], saved["elapsed"]
    own = saved
    if trainer.rank:
        file = trainer.options.out / own_file(trainer.rank)
        own = read(file, trainer.device) if file.exists() else {"step": None}
        if own["step"] != trainer.step:
            said = f"process {trainer.rank} goes on with rank 0's optimizer"
            print(f"{file}: not of step {trainer.step}: {said}", file=sys.stderr)
            own = {"optimizer": saved["optimizer"]}
    trainer.optimizer.load_state_dict(own["optimizer"])
    if "random" in own:
        torch.set_rng_state(own["random"].cpu())
    if "random_cuda" in own and trainer.device.type == "cuda":
        torch.cuda.set_rng_state(own["random_cuda"].cpu(), trainer.device)


def forget(out, rank):
    """A run from the start leaves nothing of an earlier one that a later --resume would go on from."""
    (out / own_file(rank)).unlink(missing_ok=True)


def read(path, device):
    try:
        return torch.load(path, map_location=device)
    except Exception as fault:  # the kinds of errors of a torn file are torch's own affair
        raise SystemExit(f"{path}: no checkpoint can be read from it: {fault}")
