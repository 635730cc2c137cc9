"""Which pictures are never trained on, where no validation set is given.

A picture is held out by a hash of its file name alone: whatever the seed, and whatever other pictures are added, it stays on its
side. So weights can be trained on without having seen what they are judged by. Only a set with more than 500 of them, or
none, goes by rank instead.
"""

import hashlib
import json

SALT = "maskcast held-out 1"
ONE_IN, MOST = 10, 500


def rank(name):
    return hashlib.sha256(f"{SALT}/{name}".encode()).digest()


def hold_out(pictures):
    """-> (pictures to train on, pictures held out): about 1 in 10, at least 1, at most 500."""
    if len(pictures) < 2:
        raise SystemExit("one picture is too few: expected at least one to train on and one to judge by")
    ranked = sorted(pictures, key=lambda p: rank(p.file_name))
    below = sum(rank(p.file_name) < bytes([256 // ONE_IN]) for p in pictures)
    names = {p.file_name for p in ranked[: min(max(1, below), MOST, len(pictures) - 1)]}
    kept = [p for p in pictures if p.file_name not in names]
    held = [p for p in pictures if p.file_name in names]
    if not any(p.objects for p in kept):
        raise SystemExit("all objects are on the pictures that would be held out: more annotated pictures are needed")
    return kept, held


def write(path, kept, held):
    record = {"rule": f"SHA-256 of '{SALT}/FILE_NAME' begins below {256 // ONE_IN}"}
    record |= {"held_out": [p.file_name for p in held], "trained_on": [p.file_name for p in kept]}
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
