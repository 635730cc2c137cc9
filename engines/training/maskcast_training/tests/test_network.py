"""What this package does its own way, held against torchvision; and the way out to an engine."""

import tempfile
import unittest
from pathlib import Path

import numpy as np
import torch

from ..augment import Looks, sample, visible
from ..dataset import GRID
from ..export import export, restore
from ..loader import match_anchors
from ..losses import decode, mask_logits
from ..model import Facts, anchors_for, build, detect, letterbox
from ..roi import FeatureRows

FACTS = Facts("resnet18c256-fpn64", num_classes=4, input_width=128, input_height=96, canonical_scale=48)


class AgainstTorchvision(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        torch.manual_seed(0)
        cls.model = build(FACTS).eval()

    def test_roi_align_and_its_gradient(self):
        maps = [torch.randn(2, 64, 24 >> i, 32 >> i) for i in range(4)]
        low = torch.rand(40, 2) * 100 - 8
        boxes = torch.cat([low, low + torch.rand(40, 2) * 90], 1)
        image = torch.arange(40) // 20
        ours = [m.contiguous(memory_format=torch.channels_last).requires_grad_() for m in maps]
        theirs = [m.clone().requires_grad_() for m in maps]
        got = FeatureRows(ours, FACTS).pool(image, boxes, 7)
        want = self.model.roi_heads.box_roi_pool(
            {str(i): m for i, m in enumerate(theirs)}, [boxes[:20], boxes[20:]], [(96, 128)] * 2
        )
        torch.testing.assert_close(got, want, atol=1e-4, rtol=1e-4)
        got.square().sum().backward()
        want.square().sum().backward()
        for a, b in zip(ours, theirs):
            torch.testing.assert_close(a.grad, b.grad, atol=1e-3, rtol=1e-3)

    def test_mask_logits_of_the_own_class(self):
        predictor, label = self.model.roi_heads.mask_predictor, torch.tensor([1, 3, 2, 2])
        features = torch.randn(4, 64, 14, 14)
        want = predictor(features)[torch.arange(4), label]
        torch.testing.assert_close(mask_logits(predictor, features, label), want, atol=1e-5, rtol=1e-4)

    def test_decode(self):
        anchors, deltas = torch.tensor([[2.0, 4.0, 12.0, 34.0]]), torch.tensor([[0.3, -0.2, 0.5, 9.0]])
        want = self.model.rpn.box_coder.decode(deltas, [anchors])[:, 0]
        torch.testing.assert_close(decode(anchors, deltas), want)


class Fitting(unittest.TestCase):
    def test_pictures_are_fitted_as_in_rust(self):
        facts = Facts("resnet18c256-fpn64", num_classes=4, input_width=384, input_height=288)
        cases = {(640, 480): (384, 288), (1280, 720): (384, 216), (480, 640): (216, 288), (10_000, 1): (384, 1)}
        cases[(500, 333)] = (384, 255)  # 255.7
        for size, expected in cases.items():
            self.assertEqual(letterbox(*size, facts), expected)


class Targets(unittest.TestCase):
    def test_anchor_deltas_lead_back_to_the_truth(self):
        anchors, per_level = anchors_for(build(FACTS), 96, 128)
        self.assertEqual(len(anchors), sum(per_level))
        truth = np.float32([[20, 30, 50, 66]])
        index, label, delta = match_anchors(np.random.default_rng(0), anchors.numpy(), truth, 64, 0.6)
        self.assertGreater(label.sum(), 0)
        back = decode(anchors[index[label > 0]], torch.from_numpy(delta[label > 0]))
        np.testing.assert_allclose(back, np.repeat(truth, label.sum(), 0), atol=1e-3)

    def test_a_cut_instance_gets_the_box_of_what_shows(self):
        grid = np.zeros((1, GRID, GRID), bool)
        grid[0, : GRID // 2, : GRID // 2] = True  # upper left quarter of its frame
        boxes, fraction = visible(np.float32([[-8, 0, 56, 64]]), grid, (96, 128))
        np.testing.assert_allclose(boxes, [[0, 0, 24, 32]])
        self.assertAlmostEqual(float(fraction[0]), 0.75)

    def test_flips_and_turns_move_pixels_and_masks_alike(self):
        pixels = np.zeros((96, 128, 3), np.uint8)
        pixels[20:60, 30:50] = 255
        grid = np.ones((1, GRID, GRID), bool)
        item = pixels, np.float32([[30, 20, 50, 60]]), np.array([1]), grid
        for looks in (Looks((0, 0)), Looks((1, 0)), Looks((0, 1)), Looks((0, 0), turns=1.0), Looks((1, 1), turns=1.0)):
            image, boxes, frames, labels, _ = sample(np.random.default_rng(3), item, (96, 128), (1.0, 1.0), looks)
            bright = image.astype(int).sum(2) > (image.astype(int).sum(2).max() + image.astype(int).sum(2).min()) / 2
            columns, rows = bright.any(0).nonzero()[0], bright.any(1).nonzero()[0]
            found = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
            np.testing.assert_allclose(boxes[0], found, atol=1.0)


class Export(unittest.TestCase):
    def test_restored_weights_answer_alike(self):
        torch.manual_seed(1)
        model = build(FACTS).eval()
        image = np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "w.safetensors"
            told = dict.fromkeys(("licence", "origin", "data", "command"), "test")
            export(model.state_dict(), FACTS, ["a", "b", "c"], path, told)
            again, facts, classes = restore(path.with_suffix(".toml"))
            self.assertEqual(facts, FACTS)
            self.assertEqual(classes, ["a", "b", "c"])
            path2 = Path(folder) / "w2.safetensors"
            export(again.state_dict(), facts, classes, path2, told)
            self.assertEqual(path.read_bytes(), path2.read_bytes())
        self.assertEqual(len(detect(again, facts, image)), 4)
