"""One training step's five losses, over a whole batch of equal-sized images.

B images, A anchors, R RoIs, G padded ground truths. Boxes: x0 y0 x1 y1 in network px, fp32 whatever the features are.
torchvision's own training path transforms, matches and pastes image by image; here the loader has matched the anchors
and the masks are sampled from small grids, so a step is nearly all convolutions.
"""

import torch
import torch.nn.functional as F
from torchvision.ops import nms

from .roi import FeatureRows

BOX_WEIGHTS = (10.0, 10.0, 5.0, 5.0)
LIMIT = 4.135166556742356  # ln(1000/16): torchvision's clip on the log of a size


def encode(reference, target, weights=(1.0, 1.0, 1.0, 1.0)):
    """reference, target [N,4] -> deltas [N,4]."""
    size = (reference[:, 2:] - reference[:, :2]).clamp(min=1e-3)
    centre = reference[:, :2] + size / 2
    goal = (target[:, 2:] - target[:, :2]).clamp(min=1e-3)
    goal_centre = target[:, :2] + goal / 2
    scale = reference.new_tensor(weights)
    return torch.cat([(goal_centre - centre) / size, (goal / size).log()], 1) * scale


def decode(anchors, deltas):
    """anchors [..,4], deltas [..,4] -> boxes [..,4]."""
    size = anchors[..., 2:] - anchors[..., :2]
    centre = anchors[..., :2] + size / 2 + deltas[..., :2] * size
    half = size * deltas[..., 2:].clamp(max=LIMIT).exp() / 2
    return torch.cat([centre - half, centre + half], -1)


def iou(a, b):
    """a [P,4], b [G,4] -> [P,G]."""
    overlap = (torch.minimum(a[:, None, 2:], b[:, 2:]) - torch.maximum(a[:, None, :2], b[:, :2])).clamp(min=0).prod(2)
    area_a, area_b = (a[:, 2:] - a[:, :2]).prod(1), (b[:, 2:] - b[:, :2]).prod(1)
    return overlap / (area_a[:, None] + area_b - overlap).clamp(min=1e-6)


def mask_logits(predictor, features, label):
    """features [R,C,s,s], label [R] -> logits [R,2s,2s] of each RoI's own class.

    MaskRCNNPredictor for one class a RoI. Its 2x2 stride-2 deconvolution touches each output once, so it is a matrix
    product; written so, its gradient is ten times faster on a CPU.
    """
    deconv, last = predictor.conv5_mask, predictor.mask_fcn_logits
    r, c, s, _ = features.shape
    weight = deconv.weight.permute(0, 2, 3, 1).reshape(c, -1)
    cells = features.permute(0, 2, 3, 1).reshape(-1, c) @ weight + deconv.bias.repeat(4).to(features.dtype)
    cells = F.relu(cells).view(r, s * s * 4, -1)
    logits = torch.bmm(cells, last.weight[label, :, 0]) + last.bias[label][:, None, None]
    return logits.view(r, s, s, 2, 2).permute(0, 1, 3, 2, 4).reshape(r, 2 * s, 2 * s)


class Step:
    """Callable: batch of tensors -> dict of losses. Holds what stays the same while the image size does."""

    def __init__(self, model, facts, anchors, per_level, height, width, options):
        self.model, self.facts, self.options = model, facts, options
        self.anchors, self.per_level = anchors, per_level
        self.limit = anchors.new_tensor([width, height, width, height])
        device = anchors.device
        self.mean = torch.tensor(facts.image_mean, device=device) * 255
        self.std = torch.tensor(facts.image_std, device=device) * 255

    def __call__(self, batch):
        images = ((batch["images"].float() - self.mean) / self.std).permute(0, 3, 1, 2)
        with torch.autocast(images.device.type, torch.bfloat16):
            features = list(self.model.backbone(images).values())
            objectness, deltas = self.model.rpn.head(features)
        objectness = torch.cat([o.permute(0, 2, 3, 1).flatten(1) for o in objectness], 1).float()
        deltas = torch.cat([d.permute(0, 2, 3, 1).reshape(len(d), -1, 4) for d in deltas], 1).float()
        losses = self.rpn_losses(objectness, deltas, batch)
        with torch.no_grad():
            proposals = self.proposals(objectness.detach(), deltas.detach())
            chosen = self.sample(proposals, batch)
        rows = FeatureRows(features[:4], self.facts)
        losses |= self.box_losses(rows, chosen)
        losses |= self.mask_loss(rows, chosen, batch)
        return losses

    def rpn_losses(self, objectness, deltas, batch):
        index, label = batch["anchor_index"], batch["anchor_label"]
        logit = objectness.gather(1, index)
        positive = label > 0
        picked = deltas.gather(1, index[..., None].expand(-1, -1, 4))[positive]
        goal = batch["anchor_delta"][positive]
        return {
            "objectness": F.binary_cross_entropy_with_logits(logit, label.float()),
            "rpn_box": F.smooth_l1_loss(picked, goal, beta=1 / 9, reduction="sum") / label.numel(),
        }

    def proposals(self, objectness, deltas):
        """-> a list of B tensors [<=post,4]."""
        o, boxes, scores, levels, start = self.options, [], [], [], 0
        for level, count in enumerate(self.per_level):
            top, at = objectness[:, start : start + count].topk(min(o.pre_nms, count), dim=1)
            at = at + start
            boxes.append(decode(self.anchors[at], deltas.gather(1, at[..., None].expand(-1, -1, 4))))
            scores.append(top)
            levels.append(torch.full_like(top, float(level)))
            start += count
        boxes = torch.minimum(torch.cat(boxes, 1).clamp(min=0), self.limit)
        scores, shift = torch.cat(scores, 1), torch.cat(levels, 1)[..., None] * (self.limit.max() + 8)
        out = []
        for box, score, moved in zip(boxes, scores, boxes + shift):
            keep = nms(moved, score, 0.7)[: o.post_nms]
            box = box[keep]
            out.append(box[((box[:, 2:] - box[:, :2]) > 1).all(1)])
        return out

    def sample(self, proposals, batch):
        """Picks the RoIs to learn from: positives first in each image, so that the mask head can take its share."""
        o = self.options
        parts = {k: [] for k in ("image", "box", "label", "truth", "truth_box")}
        for i, proposal in enumerate(proposals):
            n = int(batch["count"][i])
            truth, label = batch["boxes"][i, :n], batch["labels"][i, :n]
            box = torch.cat([truth, proposal])
            if n:
                value, match = iou(box, truth).max(1)
            else:
                value, match = box.new_zeros(len(box)), torch.zeros(len(box), dtype=torch.long, device=box.device)
            positive = (value >= 0.5).nonzero()[:, 0]
            negative = (value < 0.5).nonzero()[:, 0]
            positive = positive[torch.randperm(len(positive), device=box.device)[: o.positive_rois]]
            room = o.box_rois - len(positive)
            negative = negative[torch.randperm(len(negative), device=box.device)[:room]]
            pick = torch.cat([positive, negative])
            parts["image"].append(torch.full_like(pick, i))
            parts["box"].append(box[pick])
            parts["label"].append(torch.cat([label[match[positive]], torch.zeros_like(negative)]))
            parts["truth"].append(match[pick])
            parts["truth_box"].append(truth[match[pick]] if n else box[pick])
        return {k: torch.cat(v) for k, v in parts.items()}

    def box_losses(self, rows, chosen):
        heads = self.model.roi_heads
        pooled = rows.pool(chosen["image"], chosen["box"], self.facts.box_roi_size)
        with torch.autocast(pooled.device.type, torch.bfloat16):
            logits, deltas = heads.box_predictor(heads.box_head(pooled))
        logits, deltas, label = logits.float(), deltas.float(), chosen["label"]
        positive = (label > 0).nonzero()[:, 0]
        picked = deltas.view(len(label), -1, 4)[positive, label[positive]]
        goal = encode(chosen["box"][positive], chosen["truth_box"][positive], BOX_WEIGHTS)
        return {
            "class": F.cross_entropy(logits, label),
            "box": F.smooth_l1_loss(picked, goal, beta=1 / 9, reduction="sum") / max(len(label), 1),
        }

    def mask_loss(self, rows, chosen, batch):
        """Samples each truth's mask grid where the RoI's 28x28 cells fall: nothing is ever pasted."""
        label, image = chosen["label"], chosen["image"]
        positive = (label > 0).nonzero()[:, 0]
        # The first `mask_rois` of each image; positives of an image stand together.
        counts = torch.bincount(image[positive], minlength=len(batch["count"]))
        rank = torch.arange(len(positive), device=label.device) - (counts.cumsum(0) - counts)[image[positive]]
        positive = positive[rank < self.options.mask_rois]
        if not len(positive):
            return {"mask": rows.rows.sum() * 0}
        box, image, label = chosen["box"][positive], image[positive], label[positive]
        heads = self.model.roi_heads
        pooled = rows.pool(image, box, self.facts.mask_roi_size)
        with torch.autocast(pooled.device.type, torch.bfloat16):
            logits = mask_logits(heads.mask_predictor, heads.mask_head(pooled), label).float()
        side = logits.shape[-1]
        truth = chosen["truth"][positive]
        frame = batch["frames"][image, truth]
        grid = batch["masks"][image, truth].float()[:, None]
        steps = (torch.arange(side, device=box.device) + 0.5) / side
        at = box[:, None, :2] + steps[None, :, None] * (box[:, 2:] - box[:, :2])[:, None]
        at = (at - frame[:, None, :2]) / (frame[:, 2:] - frame[:, :2]).clamp(min=1e-3)[:, None] * 2 - 1
        at = torch.stack(
            [at[:, None, :, 0].expand(-1, side, -1), at[:, :, None, 1].expand(-1, -1, side)], -1
        )
        goal = F.grid_sample(grid, at, align_corners=False)[:, 0]
        return {"mask": F.binary_cross_entropy_with_logits(logits, goal)}
