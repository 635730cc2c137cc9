"""Batches made ahead of time by worker processes: samples, and the RPN's targets, matched and sampled."""

import itertools
import signal

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from .augment import Looks, sample
from .dataset import GRID
from .defaults import Fit


def match_anchors(rng, anchors, boxes, count, positive_iou=0.7, negative_iou=0.3):
    """Picks `count` anchors to learn from -> (index [count], label [count], delta [count,4]).

    torchvision's matcher: positive above `positive_iou` or best for some truth, negative below `negative_iou`.
    """
    if len(boxes):
        low = np.maximum(anchors[:, None, :2], boxes[:, :2])
        high = np.minimum(anchors[:, None, 2:], boxes[:, 2:])
        overlap = np.clip(high - low, 0, None).prod(2)
        area = (anchors[:, 2:] - anchors[:, :2]).prod(1)
        value = overlap / (area[:, None] + (boxes[:, 2:] - boxes[:, :2]).prod(1) - overlap)
        best, match = value.max(1), value.argmax(1)
        positive = (best >= positive_iou) | ((value >= value.max(0) - 1e-6) & (value > 0.05)).any(1)
        negative = (best < negative_iou) & ~positive
    else:
        match = np.zeros(len(anchors), np.int64)
        positive, negative = np.zeros(len(anchors), bool), np.ones(len(anchors), bool)
    positive = positive.nonzero()[0]
    if len(positive) > count // 2:
        positive = rng.choice(positive, count // 2, replace=False)
    negative = rng.choice(negative.nonzero()[0], count - len(positive), replace=False)
    index = np.concatenate([positive, negative])
    label = (np.arange(count) < len(positive)).astype(np.int64)
    delta = np.zeros((count, 4), np.float32)
    if len(positive):
        a, b = anchors[positive], boxes[match[positive]]
        size, goal = a[:, 2:] - a[:, :2], b[:, 2:] - b[:, :2]
        delta[: len(positive), :2] = (b[:, :2] + goal / 2 - a[:, :2] - size / 2) / size
        delta[: len(positive), 2:] = np.log(goal / size)
    return index, label, delta


class Batches(IterableDataset):
    """The batches of one process from step `first` on, without end.

    What a batch holds follows from seed, step and rank alone: pictures are drawn epoch by epoch from one list that all ranks
    share, and each sample has a generator of its own. So any number of workers may make them, and a run that goes on from a
    checkpoint sees what it would have seen.
    """

    def __init__(self, coco, anchors, out_size, rank, first, options, scales):
        self.coco, self.anchors, self.out_size, self.scales = coco, anchors, out_size, scales
        self.rank, self.world, self.first = rank, options.procs, first
        self.seed, self.batch, self.tile = options.seed, options.batch, options.tile
        self.anchor_count, self.positive_iou = options.anchor_count, options.anchor_positive_iou
        self.looks = Looks(options.flips, options.turns, options.invert, options.hue)
        self.deployed = options.input
        self.fit = Fit(options.input, options.tile)

    def __iter__(self):
        cv2.setNumThreads(1)
        worker = get_worker_info()
        if worker:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the training process decides when to stop
        number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        order, at = self.order(), 0
        for step in itertools.count(self.first + number, workers):
            samples = []
            for k in range(self.batch):
                place = (step * self.world + self.rank) * self.batch + k
                i = next(itertools.islice(order, place - at, None))
                at = place + 1
                samples.append(self.one(np.random.default_rng([self.seed, 1, place]), i))
            yield collate(samples)

    def order(self):
        """Pictures, epoch by epoch, each in another order. Those that fill many windows come more often: by the root of how
        many."""
        for epoch in itertools.count():
            rng = np.random.default_rng([self.seed, 0, epoch])
            times = np.ones(len(self.coco), int)
            if self.tile:
                share = np.array([np.sqrt(h * w) * self.fit(h, w) for h, w in self.coco.sources])
                share = share / np.sqrt(self.deployed[0] * self.deployed[1])
                times = np.floor(share.clip(1) + rng.random(len(share))).astype(int)
            yield from rng.permutation(np.repeat(np.arange(len(times)), times)).tolist()

    def one(self, rng, i):
        """A sample of picture i; of the next one where its file is damaged."""
        for at in range(i, i + len(self.coco)):
            i = at % len(self.coco)
            item = self.coco[i]
            if item is not None:
                break
        else:
            raise SystemExit(f"{self.coco.folder}: no picture can be decoded")
        # `scales` are relative to the scale at which the deployed input would show this picture.
        deployed_from_kept = self.fit(*self.coco.sources[i]) * self.coco.sources[i][0] / item[0].shape[0]
        scales = tuple(s * deployed_from_kept for s in self.scales)
        for _ in range(4):  # a window with nothing in it teaches little
            made = sample(rng, item, self.out_size, scales, self.looks)
            if len(made[1]):
                break
        return *made, match_anchors(rng, self.anchors, made[1], self.anchor_count, self.positive_iou)


def collate(samples):
    b, most = len(samples), max(1, max(len(s[1]) for s in samples))
    boxes, frames = np.zeros((b, most, 4), np.float32), np.zeros((b, most, 4), np.float32)
    labels, masks = np.zeros((b, most), np.int64), np.zeros((b, most, GRID, GRID), np.uint8)
    for k, (_, box, frame, label, grid, _) in enumerate(samples):
        boxes[k, : len(box)], frames[k, : len(box)] = box, frame
        labels[k, : len(box)], masks[k, : len(box)] = label, grid
    arrays = {
        "images": np.stack([s[0] for s in samples]),
        "boxes": boxes,
        "frames": frames,
        "labels": labels,
        "masks": masks,
        "count": np.array([len(s[1]) for s in samples]),
        "anchor_index": np.stack([s[5][0] for s in samples]),
        "anchor_label": np.stack([s[5][1] for s in samples]),
        "anchor_delta": np.stack([s[5][2] for s in samples]),
    }
    return {k: torch.from_numpy(v) for k, v in arrays.items()}


def stream(batches, workers=1, ahead=4, pin=False):
    """-> iterator of batches, made in `workers` processes up to `ahead` batches early; page-locked for a GPU to fetch.

    The workers are started anew instead of forked: OpenCV's and CUDA's threads do not survive a fork. The generator of its own
    keeps the loader from drawing of the process's random numbers, which a resumed run must find as they were.
    """
    how = {"prefetch_factor": ahead, "multiprocessing_context": "spawn"} if workers else {}
    how["generator"] = torch.Generator()
    return iter(DataLoader(batches, batch_size=None, num_workers=workers, pin_memory=pin, **how))
