"""Small checkpoints as torch, numpy and detectron2 write them, for `src/model/checkpoint`: tests/data/checkpoints/*.

    python tests/oracle/checkpoint_goldens.py        needs torch and numpy; the versions used are in sums.json

Files of the older torch format hold memory addresses as keys: they differ in those from run to run, not in their tensors.
sums.json holds, of each tensor under its stored name, its shape, the sum of its values and the sum of value * (position + 1).
"""
import collections
import json
import pathlib
import pickle

import numpy as np
import torch

OUT = pathlib.Path(__file__).parents[1] / "data" / "checkpoints"
SUMS = {"made_with": f"torch {torch.__version__}, numpy {np.__version__}"}


def note(file, tensors):
    def facts(value):
        a = np.asarray(value.detach().to(torch.float32) if isinstance(value, torch.Tensor) else value).astype(np.float32)
        flat = a.reshape(-1).astype(np.float64)
        return {"shape": list(a.shape), "sum": float(flat.sum()), "weighted": float((flat * (np.arange(flat.size) + 1)).sum())}

    SUMS[file] = {name: facts(value) for name, value in tensors.items()}


def noise(*shape):
    # Multiples of 1/64: every sum is exact, whatever its order.
    return torch.randint(-256, 257, shape).to(torch.float32) / 64


def every_kind():
    """Element types, views, sharing, parameters, empty and scalar tensors."""
    base = noise(6, 4)
    state = collections.OrderedDict()
    state["turned"] = base.t()
    state["part"] = base[2:5, 1:3]
    state["stretched"] = noise(3, 1).expand(3, 4)
    state["whole"] = base
    state["parameter"] = torch.nn.Parameter(noise(2, 3))
    state["scalar"] = torch.tensor(2.5)
    state["empty"] = torch.zeros(0, 4)
    state["f16"] = noise(5).to(torch.float16)
    state["bf16"] = noise(5).to(torch.bfloat16)
    state["f64"] = noise(5).to(torch.float64)
    for kind in [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8]:
        state[str(kind).split(".")[1]] = torch.randint(0, 100, (5,)).to(kind)
    state["bool"] = torch.tensor([True, False, True])
    state._metadata = collections.OrderedDict({"": {"version": 1}})
    return state


def old_torchvision(classes=3, width=4):
    """The names of 2019, of a network too small for anything else."""
    state = collections.OrderedDict()
    state["backbone.body.conv1.weight"] = noise(4, 3, 3, 3)
    for leaf in ["weight", "bias", "running_mean", "running_var"]:
        state[f"backbone.body.bn1.{leaf}"] = noise(4)
    state["backbone.body.bn1.num_batches_tracked"] = torch.tensor(7)
    for level in range(2):
        for block in ["inner_blocks", "layer_blocks"]:
            state[f"backbone.fpn.{block}.{level}.weight"] = noise(width, 4, 1, 1)
            state[f"backbone.fpn.{block}.{level}.bias"] = noise(width)
    for leaf, shape in [("weight", (width, width, 3, 3)), ("bias", (width,))]:
        state[f"rpn.head.conv.{leaf}"] = noise(*shape)
        for n in range(1, 3):
            state[f"roi_heads.mask_head.mask_fcn{n}.{leaf}"] = noise(*shape)
    state["roi_heads.mask_predictor.mask_fcn_logits.weight"] = noise(classes, width, 1, 1)
    return state


def detectron2(classes=2, width=4):
    model = {"pixel_mean": noise(3, 1, 1), "pixel_std": noise(3, 1, 1)}
    model["proposal_generator.anchor_generator.cell_anchors.0"] = noise(3, 4)

    def conv(name, *shape, norm=False, bias=True):
        model[f"{name}.weight"] = noise(*shape)
        if norm:
            for leaf in ["weight", "bias", "running_mean", "running_var"]:
                model[f"{name}.norm.{leaf}"] = noise(shape[0])
        elif bias:
            model[f"{name}.bias"] = noise(shape[0])

    conv("backbone.bottom_up.stem.conv1", 4, 3, 3, 3, norm=True)
    for stage, blocks in zip(range(2, 6), [2, 2, 2, 2]):
        for block in range(blocks):
            for n in [1, 2]:
                conv(f"backbone.bottom_up.res{stage}.{block}.conv{n}", 2, 2, 3, 3, norm=n == 1, bias=False)
        conv(f"backbone.bottom_up.res{stage}.0.shortcut", 2, 2, 1, 1, norm=True)
        conv(f"backbone.fpn_lateral{stage}", width, 2, 1, 1)
        conv(f"backbone.fpn_output{stage}", width, width, 1, 1)
    conv("proposal_generator.rpn_head.conv", width, width, 1, 1)
    conv("proposal_generator.rpn_head.objectness_logits", 3, width, 1, 1)
    conv("proposal_generator.rpn_head.anchor_deltas", 12, width, 1, 1)
    conv("roi_heads.box_head.fc1", 5, width)
    conv("roi_heads.box_head.fc2", 6, 5)
    conv("roi_heads.box_predictor.cls_score", classes + 1, 6)
    conv("roi_heads.box_predictor.bbox_pred", 4 * classes, 6)
    for n in range(1, 5):
        conv(f"roi_heads.mask_head.mask_fcn{n}", width, width, 1, 1)
    conv("roi_heads.mask_head.deconv", width, width, 2, 2)
    conv("roi_heads.mask_head.predictor", classes, width, 1, 1)
    return model


def numpy_kinds():
    """In an order, of a type and of a shape that a plain array has not."""
    grid = np.arange(12, dtype=np.float32).reshape(3, 4)
    return {
        "rows": grid,
        "columns": np.asfortranarray(grid),
        "f16": grid.astype(np.float16)[0],
        "f64": grid.astype(np.float64),
        "u8": np.array([0, 127, 128, 255], np.uint8),
        "bool": np.array([True, False]),
        "scalar": np.float32(2.5),
        "empty": np.zeros((0, 3), np.float32),
    }


def caffe2_net():
    def varint(value):
        value &= 2**64 - 1
        out = b""
        while value > 127:
            out += bytes([value & 127 | 128])
            value >>= 7
        return out + bytes([value])

    def message(*fields):
        out = b""
        for number, value in fields:
            if isinstance(value, float):
                out += varint(number << 3 | 5) + np.float32(value).tobytes()
            elif isinstance(value, int):
                out += varint(number << 3) + varint(value)
            else:
                value = value.encode() if isinstance(value, str) else value
                out += varint(number << 3 | 2) + varint(len(value)) + value
        return out

    def fill(kind, name, shape, *arguments):
        shape = message((1, "shape"), *((6, n) for n in shape))
        arguments = [(5, message(*argument)) for argument in arguments]
        return (2, message((2, name), (4, kind), (5, shape), *arguments))

    weights = np.random.randint(0, 256, (3, 2, 2, 4), np.uint8)
    biases = [-3, 0, 70000]
    values = [0.5, -1.25]
    net = message(
        (1, "tiny"),
        fill("Int8GivenTensorFill", "w", weights.shape, [(1, "values"), (4, weights.tobytes())], [(1, "Y_scale"), (2, 0.125)],
             [(1, "Y_zero_point"), (3, 128)]),
        fill("Int8GivenIntTensorFill", "b", [3], [(1, "values"), *((6, n) for n in biases)], [(1, "Y_scale"), (2, 0.5)],
             [(1, "Y_zero_point"), (3, 0)]),
        fill("GivenTensorFill", "f", [1, 2], [(1, "values"), *((5, v) for v in values)]),
    )
    dense = (weights.astype(np.float32) - 128) * 0.125
    tensors = {"w": dense.transpose(0, 3, 1, 2), "b": np.array(biases) * 0.5, "f": np.array([values])}
    return net, tensors


def main():
    torch.manual_seed(5)
    np.random.seed(5)
    OUT.mkdir(parents=True, exist_ok=True)

    kinds = every_kind()
    torch.save(kinds, OUT / "kinds_zip.pth")
    torch.save(kinds, OUT / "kinds_legacy.pth", _use_new_zipfile_serialization=False)
    note("kinds_zip.pth", kinds)
    note("kinds_legacy.pth", kinds)

    old = {"module." + name: value for name, value in old_torchvision().items()}
    optimizer = torch.optim.SGD([torch.nn.Parameter(noise(2))], lr=0.1, momentum=0.9)
    torch.save({"model": old, "optimizer": optimizer.state_dict(), "epoch": 3}, OUT / "torchvision_2019.pth",
               _use_new_zipfile_serialization=False)
    note("torchvision_2019.pth", old)

    model = detectron2()
    arrays = {name: value.numpy() for name, value in model.items()}
    whole = {"model": arrays, "__author__": "Detectron2 Model Zoo", "matching_heuristics": True}
    (OUT / "detectron2.pkl").write_bytes(pickle.dumps(whole, protocol=4))
    note("detectron2.pkl", arrays)

    kinds = numpy_kinds()
    for protocol in [2, 3, 4, 5]:
        (OUT / f"numpy_{protocol}.pkl").write_bytes(pickle.dumps({"model": kinds}, protocol=protocol))
        note(f"numpy_{protocol}.pkl", kinds)
    few = {"a": noise(2, 3), "b": noise(3).to(torch.float16)}
    (OUT / "tensors.pkl").write_bytes(pickle.dumps({"model": few}, protocol=4))
    note("tensors.pkl", few)

    net, tensors = caffe2_net()
    (OUT / "caffe2.pb").write_bytes(net)
    note("caffe2.pb", tensors)

    (OUT / "sums.json").write_text(json.dumps(SUMS, indent=1) + "\n")


main()
