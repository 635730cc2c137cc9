"""The recipe beside the weights, weights to start from, and where both come from."""

import contextlib
import io
import tempfile
import tomllib
import unittest
from pathlib import Path

import torch
from safetensors.torch import save_file

from .. import recipe
from ..export import begin_from, export, restore
from ..model import Facts, build, planes_of

FACTS = Facts("resnet18c256-fpn64", num_classes=3, input_width=128, input_height=96, anchor_ratios=(0.4, 1.0, 2.5))
PROVENANCE = {"licence": "unknown", "origin": 'made "here"\\there', "data": "a.json: 3 pictures\nsecond line", "command": "x"}
BUNDLED = Path(__file__).resolve().parents[3] / "conveyor.toml"


class Writing(unittest.TestCase):
    def setUp(self):
        held = tempfile.TemporaryDirectory()
        self.addCleanup(held.cleanup)
        self.weights = Path(held.name) / "mine.safetensors"
        self.weights.write_bytes(b"weights")

    def test_everything_that_was_meant_is_read_back(self):
        classes = ["nut", 'a "quoted" \\ name', "Schraube \u00e4\u4e2d\U0001f529", "\x7f\t"]
        figures = {"mask_ap": 0.5, "pictures": 12, "mask_ap50": 1e-05, "on": "x"}
        text = recipe.text_of(FACTS, classes, self.weights, PROVENANCE, figures)
        said = tomllib.loads(text)
        self.assertEqual(said["name"], "mine")
        self.assertEqual(said["weights"]["figures"], figures)
        for key, value in PROVENANCE.items():
            self.assertEqual(said["weights"][key], value)
        path = self.weights.with_suffix(".toml")
        path.write_text(text, encoding="utf-8")
        facts, names, weights = recipe.read(path)
        self.assertEqual((names, weights), (classes, self.weights))
        self.assertEqual(facts, Facts(**FACTS.as_dict() | {"num_classes": 5}))
        self.assertNotIn("figures", tomllib.loads(recipe.text_of(FACTS, classes, self.weights, PROVENANCE))["weights"])

    def test_values_that_toml_has_no_word_for_are_refused(self):
        self.assertEqual(recipe.toml([1, 2.5, "a"]), '[1, 2.5, "a"]')
        for value in (None, True, {}):
            with self.assertRaises(TypeError):
                recipe.toml(value)

    def test_the_bundled_recipe_is_read(self):
        facts, classes, weights = recipe.read(BUNDLED)
        self.assertEqual((facts.arch, len(classes), weights.name), ("resnet18c256-fpn64", 8, "conveyor.safetensors"))

    def test_other_networks_are_refused(self):
        with self.assertRaisesRegex(SystemExit, "not a network of this package"):
            recipe.read(BUNDLED.with_name("coco-detectron2-resnet50.toml"))
        with self.assertRaisesRegex(SystemExit, "no.toml"):
            recipe.read(self.weights.with_name("no.toml"))

    def test_a_command_line_loses_its_absolute_paths(self):
        words = ["--coco", "/data/x/ann.json", "--images", "some dir", "--init=/a/b.safetensors"]
        words += ["--out", "/srv/me/engines/mine"]
        self.assertEqual(
            recipe.command_of(words, folder="/srv/me"),
            "python -m maskcast_training --coco ann.json --images 'some dir' --init=b.safetensors --out engines/mine",
        )

    def test_architectures(self):
        self.assertEqual(planes_of("resnet18-fpn64"), ("resnet18", [64, 128, 256, 512], 64))
        self.assertEqual(planes_of("resnet50c300-fpn96"), ("resnet50", [64, 128, 256, 300], 96))
        for wrong in ("resnet18", "resnet101-fpn64", "resnet18-fpn0", "resnet18-fpn64 "):
            with self.assertRaisesRegex(SystemExit, "unknown --arch"):
                planes_of(wrong)


class Starting(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        held = tempfile.TemporaryDirectory()
        cls.addClassCleanup(held.cleanup)
        cls.path = Path(held.name) / "w.safetensors"
        torch.manual_seed(0)
        cls.given = build(FACTS)
        export(cls.given.state_dict(), FACTS, ["a", "b"], cls.path, PROVENANCE)

    def test_what_fits_is_taken_and_the_rest_named(self):
        torch.manual_seed(1)
        model = build(Facts(**FACTS.as_dict() | {"num_classes": 6}))
        before = model.roi_heads.box_predictor.cls_score.weight.clone()
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            share = begin_from(model, self.path, say=True)
        self.assertGreater(share, 0.9)
        anew = ("box_predictor.bbox_pred", "box_predictor.cls_score", "mask_predictor.mask_fcn_logits")
        self.assertIn("anew: " + ", ".join(f"roi_heads.{name}" for name in anew) + "\n", said.getvalue())
        torch.testing.assert_close(model.backbone.body.conv1.weight, self.given.backbone.body.conv1.weight.half().float())
        torch.testing.assert_close(model.roi_heads.box_predictor.cls_score.weight, before)

    def test_another_trunk_takes_little(self):
        model = build(Facts(**FACTS.as_dict() | {"arch": "resnet50-fpn256"}))
        self.assertLess(begin_from(model, self.path, say=False), 0.1)

    def test_what_is_no_file_of_weights_is_named(self):
        bad = self.path.with_name("bad.safetensors")
        bad.write_bytes(b"not weights")
        other = self.path.with_name("other.safetensors")
        save_file({"x": torch.zeros(2)}, str(other))
        cases = (bad, "no weights can be read"), (other, "no tensor fits"), (bad.with_name("no"), "no weights can be read")
        for path, words in cases:
            with self.assertRaisesRegex(SystemExit, words):
                begin_from(self.given, path, say=False)

    def test_a_tensor_that_is_missing_is_named(self):
        state = {k: v.contiguous() for k, v in self.given.state_dict().items() if k != "backbone.body.conv1.weight"}
        text = self.path.with_suffix(".toml").read_text().replace("w.safetensors", "less.safetensors")
        save_file(state, str(self.path.with_name("less.safetensors")))
        less = self.path.with_name("less.toml")
        less.write_text(text)
        with self.assertRaisesRegex(SystemExit, r"missing \['backbone.body.conv1.weight'\]"):
            restore(less)
