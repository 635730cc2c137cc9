"""Which pictures are never trained on, where no validation set is given.

A picture is held out by a hash of its file name: the same pictures in every run, whatever the seed, and nearly the same when
pictures are added. So weights can be trained on without having seen what they are judged by.
"""

import hashlib
import json

SALT = "maskcast held-out 1"
ONE_IN, MOST = 10, 500


def rank(name):
    return hashlib.sha256(f"{SALT}/{name}".encode()).digest()


def hold_out(pictures):
    """-> (pictures to train on, pictures held out): 1 in 10, at least 1, at most 500."""
    if len(pictures) < 2:
        raise SystemExit("one picture is too few: expected at least one to train on and one to judge by")
    count = min(max(1, len(pictures) // ONE_IN), MOST)
    names = {p.file_name for p in sorted(pictures, key=lambda p: rank(p.file_name))[:count]}
    kept = [p for p in pictures if p.file_name not in names]
    held = [p for p in pictures if p.file_name in names]
    if not any(p.objects for p in kept):
        raise SystemExit("all objects are on the pictures that would be held out: more annotated pictures are needed")
    return kept, held


def write(path, kept, held):
    record = {"rule": f"lowest SHA-256 of '{SALT}/FILE_NAME'"}
    record |= {"held_out": [p.file_name for p in held], "trained_on": [p.file_name for p in kept]}
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
