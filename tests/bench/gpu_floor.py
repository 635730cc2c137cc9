"""The least time Mask R-CNN R50-FPN can take on a card: torchvision's maskrcnn_resnet50_fpn at 800x1333 padded to 800x1344,
1000 proposals, 100 detections. Each layer reads its inputs and weights once and writes its output once; bias, residual and
ReLU are part of the convolution; the slower of arithmetic and memory counts.

    python tests/bench/gpu_floor.py [BATCH]      with the ceilings of one H200
"""
import sys
from dataclasses import dataclass

HEIGHT, WIDTH = 800, 1344
CHANNELS, ANCHORS, CLASSES = 256, 3, 91
PROPOSALS, DETECTIONS = 1000, 100
# (channels inside, channels out, blocks, stride) of ResNet-50's stages
STAGES = [(64, 256, 3, 1), (128, 512, 4, 2), (256, 1024, 6, 2), (512, 2048, 3, 2)]


@dataclass
class Layer:
    part: str
    macs: int
    """Multiply-adds of one picture."""
    moved: int
    """Values of one picture, read and written."""
    weights: int
    """Values that a batch reads once."""


def convolution(part, channels, size, out_channels, kernel, stride=1, residual=0, count=1):
    """`count` maps of `size`; `residual`: values a cell of what is added to the output."""
    out = tuple(-(-side // stride) for side in size)
    cells = count * out[0] * out[1]
    weights = out_channels * channels * kernel**2
    moved = count * channels * size[0] * size[1] + cells * (out_channels + residual)
    return out, Layer(part, cells * weights, moved, weights)


def layers():
    """All dense layers and both RoIAligns, in order."""
    found = []

    def conv(*args, **more):
        size, layer = convolution(*args, **more)
        found.append(layer)
        return size

    size = conv("backbone", 3, (HEIGHT, WIDTH), 64, 7, stride=2)
    pooled = tuple(side // 2 for side in size)
    found.append(Layer("backbone", 0, 64 * (size[0] * size[1] + pooled[0] * pooled[1]), 0))
    size, channels, stages = pooled, 64, []
    for inside, outside, blocks, first_stride in STAGES:
        for block in range(blocks):
            stride = first_stride if block == 0 else 1
            conv("backbone", channels, size, inside, 1)
            out = conv("backbone", inside, size, inside, 3, stride=stride)
            if block == 0:
                conv("backbone", channels, size, outside, 1, stride=stride)
            conv("backbone", inside, out, outside, 1, residual=outside)
            channels, size = outside, out
        stages.append((channels, size))
    for level, (channels, size) in enumerate(stages):
        # The level above is a quarter of the cells, read once.
        conv("FPN", channels, size, CHANNELS, 1, residual=CHANNELS // 4 if level < 3 else 0)
    for _, size in stages:
        conv("FPN", CHANNELS, size, CHANNELS, 3)
    pyramid = [size for _, size in stages]
    for size in pyramid + [tuple(-(-side // 2) for side in pyramid[-1])]:
        conv("RPN head", CHANNELS, size, CHANNELS, 3)
        conv("RPN head", CHANNELS, size, 5 * ANCHORS, 1)

    values = CHANNELS * sum(height * width for height, width in pyramid)

    def roi_align(part, regions, side):
        cells = regions * side**2 * CHANNELS
        found.append(Layer(part, 16 * cells, min(16 * cells, values) + cells, 0))

    def linear(part, rows, inputs, outputs):
        found.append(Layer(part, rows * inputs * outputs, rows * (inputs + outputs), inputs * outputs))

    roi_align("box RoIAlign", PROPOSALS, 7)
    linear("box head", PROPOSALS, 49 * CHANNELS, 1024)
    linear("box head", PROPOSALS, 1024, 1024)
    linear("box head", PROPOSALS, 1024, 5 * CLASSES)
    roi_align("mask RoIAlign", DETECTIONS, 14)
    for _ in range(4):
        conv("mask head", CHANNELS, (14, 14), CHANNELS, 3, count=DETECTIONS)
    linear("mask head", DETECTIONS * 14 * 14, CHANNELS, 4 * CHANNELS)
    linear("mask head", DETECTIONS * 28 * 28, CHANNELS, CLASSES)
    return found


def milliseconds(layer, batch, flops, bytes_a_second, value_bytes=2):
    compute = 2 * batch * layer.macs / flops
    memory = value_bytes * (batch * layer.moved + layer.weights) / bytes_a_second
    return 1e3 * max(compute, memory)


def floor_ms(batch, flops, bytes_a_second):
    return sum(milliseconds(layer, batch, flops, bytes_a_second) for layer in layers())


def main():
    batch = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    flops, bytes_a_second = 788e12, 4.3e12
    parts = {}
    for layer in layers():
        gmacs, ms = parts.get(layer.part, (0, 0))
        parts[layer.part] = gmacs + batch * layer.macs / 1e9, ms + milliseconds(layer, batch, flops, bytes_a_second)
    for part, (gmacs, ms) in parts.items():
        print(f"{part:<14} {gmacs:8.1f} GMAC {ms:8.3f} ms")
    print(f"{'whole':<14} {sum(g for g, _ in parts.values()):8.1f} GMAC {floor_ms(batch, flops, bytes_a_second):8.3f} ms")


if __name__ == "__main__":
    main()
