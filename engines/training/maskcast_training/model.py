"""The network, as torchvision lays it out, and the facts the Rust side needs to rebuild it.

Architecture strings: `resnet{18,34,50}-fpn{64,96,128,256}`; `resnet18c256-fpn64` narrows the last trunk stage to
256 channels, which takes a ResNet-18 from 11.2 to 5.2 M parameters (small objects hardly use that stage).
"""

import re
from dataclasses import asdict, dataclass

import torch
from torchvision.models import resnet
from torchvision.models.detection import MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.ops import MultiScaleRoIAlign

IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Facts:
    """Everything besides the weights that decides what the network answers."""

    arch: str
    num_classes: int  # background included
    input_width: int
    input_height: int
    anchor_sizes: tuple = (16, 32, 64, 128, 256)  # px in the network input, one a level: P2 P3 P4 P5 pool
    anchor_ratios: tuple = (0.5, 1.0, 2.0)  # height / width
    canonical_scale: int = 224
    canonical_level: int = 4
    representation_size: int = 256
    roi_sampling_ratio: int = 2
    box_roi_size: int = 7
    mask_roi_size: int = 14
    rpn_pre_nms_top_n: int = 300  # a level
    rpn_post_nms_top_n: int = 100  # in total
    rpn_nms_threshold: float = 0.7
    rpn_min_size: float = 1e-3
    score_threshold: float = 0.05
    nms_threshold: float = 0.5
    detections_per_image: int = 100
    image_mean: tuple = IMAGE_MEAN
    image_std: tuple = IMAGE_STD

    def as_dict(self):
        return asdict(self)


def planes_of(arch):
    """arch -> (trunk's name, planes of its four stages before a bottleneck's expansion, FPN width)."""
    match = re.fullmatch(r"(resnet(?:18|34|50))(?:c([1-9]\d*))?-fpn([1-9]\d*)", arch)
    if not match:
        raise SystemExit(f"unknown --arch {arch!r}: expected resnet{{18,34,50}}[cN]-fpn{{64,96,128,256}}, as in resnet18-fpn64")
    return match[1], [64, 128, 256, int(match[2] or 512)], int(match[3])


def trunk(arch):
    """arch -> (ResNet, channels of its four stages, FPN width)."""
    name, planes, width = planes_of(arch)
    body = getattr(resnet, name)(weights=None)
    block = type(body.layer1[0])
    if planes[3] != 512:
        body.inplanes = planes[2] * block.expansion
        body.layer4 = body._make_layer(block, planes[3], len(body.layer4), stride=2)
        for module in body.layer4.modules():
            if isinstance(module, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    # Residual branches start at zero: from scratch this lets a larger learning rate in from the first steps.
    for module in body.modules():
        if isinstance(module, resnet.BasicBlock):
            torch.nn.init.zeros_(module.bn2.weight)
        elif isinstance(module, resnet.Bottleneck):
            torch.nn.init.zeros_(module.bn3.weight)
    return body, [p * block.expansion for p in planes], width


def build(facts):
    """Facts -> torchvision MaskRCNN with the deployed test settings."""
    body, channels, width = trunk(facts.arch)
    backbone = BackboneWithFPN(body, {f"layer{i + 1}": str(i) for i in range(4)}, channels, width)

    def pool(size):
        return MultiScaleRoIAlign(
            ["0", "1", "2", "3"],
            size,
            facts.roi_sampling_ratio,
            canonical_scale=facts.canonical_scale,
            canonical_level=facts.canonical_level,
        )

    sizes = tuple((s,) for s in facts.anchor_sizes)
    model = MaskRCNN(
        backbone,
        rpn_anchor_generator=AnchorGenerator(sizes, (tuple(facts.anchor_ratios),) * len(sizes)),
        rpn_pre_nms_top_n_test=facts.rpn_pre_nms_top_n,
        rpn_post_nms_top_n_test=facts.rpn_post_nms_top_n,
        rpn_nms_thresh=facts.rpn_nms_threshold,
        box_roi_pool=pool(facts.box_roi_size),
        box_head=TwoMLPHead(width * facts.box_roi_size**2, facts.representation_size),
        box_predictor=FastRCNNPredictor(facts.representation_size, facts.num_classes),
        box_score_thresh=facts.score_threshold,
        box_nms_thresh=facts.nms_threshold,
        box_detections_per_img=facts.detections_per_image,
        mask_roi_pool=pool(facts.mask_roi_size),
        mask_head=MaskRCNNHeads(width, (width,) * 4, 1),
        mask_predictor=MaskRCNNPredictor(width, width, facts.num_classes),
    )
    # The priors of a rare positive: the first steps then teach shape, not merely "nothing is anywhere".
    torch.nn.init.constant_(model.rpn.head.cls_logits.bias, -3.0)
    return model


def anchors_for(model, height, width):
    """Network input size -> (anchors [A,4] px x0 y0 x1 y1, anchors a level [5]); the order the RPN flattens in."""
    strides = (4, 8, 16, 32, 64)
    grids = [(-(-height // s), -(-width // s)) for s in strides]
    features = [torch.zeros(1, 1, *g) for g in grids]
    images = ImageList(torch.zeros(1, 3, height, width), [(height, width)])
    anchors = model.rpn.anchor_generator(images, features)[0]
    return anchors, [h * w * len(model.rpn.anchor_generator.aspect_ratios[0]) for h, w in grids]


def letterbox(width, height, facts):
    """Picture size -> its size in the network's input: fitted in, the other side rounded down, as src/geometry/letterbox.rs."""
    if width * facts.input_height >= height * facts.input_width:
        return facts.input_width, max(1, height * facts.input_width // width)
    return max(1, width * facts.input_height // height), facts.input_height


@torch.no_grad()
def detect(model, facts, image, autocast=False):
    """image uint8 [h,w,3] RGB -> (boxes [n,4] source px, scores [n], labels [n], masks [n,1,28,28] probabilities).

    Fits the image into the deployed input (bilinear, half-pixel centres, no antialiasing), normalises, then pads right and
    bottom with zeros.
    """
    device = next(model.parameters()).device
    h, w = image.shape[:2]
    nw, nh = letterbox(w, h, facts)
    x = torch.as_tensor(image).to(device).permute(2, 0, 1)[None].float() / 255
    x = torch.nn.functional.interpolate(x, size=(nh, nw), mode="bilinear", align_corners=False)
    x = (x - x.new_tensor(facts.image_mean)[:, None, None]) / x.new_tensor(facts.image_std)[:, None, None]
    x = torch.nn.functional.pad(x, (0, facts.input_width - nw, 0, facts.input_height - nh))
    with torch.autocast(device.type, torch.bfloat16, enabled=autocast):
        features = model.backbone(x.contiguous(memory_format=torch.channels_last))
    features = {k: v.float().contiguous() for k, v in features.items()}
    proposals, _ = model.rpn(ImageList(x, [(nh, nw)]), features)
    found, _ = model.roi_heads(features, proposals, [(nh, nw)])
    boxes = found[0]["boxes"] * x.new_tensor([w / nw, h / nh, w / nw, h / nh])
    return boxes, found[0]["scores"], found[0]["labels"], found[0]["masks"]
