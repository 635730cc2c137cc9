"""Batches made ahead of time by one worker process: samples, and the RPN's targets, matched and sampled."""

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset

from .augment import Looks, sample
from .dataset import GRID


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
    """An endless stream of batches; rank r of n takes every n-th image of a permutation all ranks share."""

    def __init__(
        self, coco, anchors, out_size, deployed_size, scales, batch, rank, world, seed, looks, anchor_count, positive_iou
    ):
        self.coco, self.anchors, self.out_size, self.deployed_size = coco, anchors, out_size, deployed_size
        self.scales, self.batch, self.rank, self.world, self.seed = scales, batch, rank, world, seed
        self.anchor_count, self.positive_iou = anchor_count, positive_iou
        self.looks = Looks(looks.flips, looks.turns, looks.invert, looks.hue)
        self.tile = looks.tile

    def __iter__(self):
        cv2.setNumThreads(1)
        shared = np.random.default_rng([*self.seed, 0])
        rng = np.random.default_rng([*self.seed, 1 + self.rank])
        samples = []
        while True:
            for i in self.epoch(shared)[self.rank :: self.world]:
                samples.append(self.one(rng, int(i)))
                if len(samples) == self.batch:
                    yield collate(samples)
                    samples = []

    def fit(self, size):
        """(height, width) -> network px per source px when deployed: fitted into the input, or shown in tiles."""
        fitted = min(d / s for d, s in zip(self.deployed_size, size))
        return max(fitted, min(self.deployed_size) / self.tile) if self.tile else fitted

    def epoch(self, rng):
        """Every image in any order. Those that fill many windows come more often, by the root of how many."""
        if not self.tile:
            return rng.permutation(len(self.coco))
        share = np.array([np.sqrt(h * w) * self.fit((h, w)) for _, h, w, _, _ in self.coco.entries])
        times = share / np.sqrt(self.deployed_size[0] * self.deployed_size[1])
        times = np.floor(times.clip(1) + rng.random(len(times))).astype(int)
        return rng.permutation(np.repeat(np.arange(len(times)), times))

    def one(self, rng, i):
        item = self.coco[i]
        # `scales` are relative to the scale at which the deployed input would show this image.
        fit = self.fit(item[0].shape[:2])
        scales = tuple(s * fit for s in self.scales)
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


def stream(batches, workers=1, ahead=4):
    """-> iterator of batches, made in `workers` processes up to `ahead` batches early."""
    return iter(DataLoader(batches, batch_size=None, num_workers=workers, prefetch_factor=ahead if workers else None))
