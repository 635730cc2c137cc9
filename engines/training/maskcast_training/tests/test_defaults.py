"""What follows from the data: input size, anchors, scale of tiles, how often a picture comes."""

import argparse
import itertools
import unittest
from unittest import mock

import numpy as np

from .. import cli, defaults
from ..annotations import Object, Picture
from ..defaults import Fit
from ..loader import Batches


def picture(width, height, sides, name="a"):
    return Picture(1, name, width, height, [Object(1, [], (0, 0, w, h), w * h) for w, h in sides])


class InputSize(unittest.TestCase):
    def test_large_objects_allow_a_small_input_and_small_ones_ask_for_a_large_one(self):
        large = [picture(1920, 1080, [(400, 300)] * 3)]
        small = [picture(1920, 1080, [(24, 24)] * 3)]
        self.assertEqual(defaults.input_size(large), (384, 192))
        self.assertEqual(defaults.input_size(small), (736, 416))

    def test_a_small_picture_is_not_enlarged(self):
        self.assertEqual(defaults.input_size([picture(256, 256, [(10, 10)])]), (256, 256))
        self.assertEqual(defaults.input_size([picture(60, 50, [(10, 10)])]), (128, 128))

    def test_the_median_picture_counts(self):
        odd = [picture(5000, 100, [(30, 30)])]
        usual = [picture(640, 480, [(30, 30)])] * 4
        self.assertEqual(defaults.input_size(usual + odd), defaults.input_size(usual))


class Anchors(unittest.TestCase):
    def test_they_follow_the_objects(self):
        rng = np.random.default_rng(0)
        for middle in (20, 60):
            side = middle * np.exp(rng.normal(0, 0.4, 500))
            sizes, ratios = defaults.anchors(np.stack([side, side], 1))
            self.assertEqual(ratios, (0.5, 1.0, 2.0))
            self.assertEqual(sorted(sizes), list(sizes))
            self.assertTrue(sizes[0] < middle < sizes[-1], (middle, sizes))
            boxes = np.stack([side, side], 1)
            usual = defaults.overlap(boxes, (16, 32, 64, 128, 256), ratios)
            self.assertGreater(defaults.overlap(boxes, sizes, ratios), usual)

    def test_bars_get_long_anchors(self):
        side = np.random.default_rng(0).uniform(20, 80, 500)
        _, ratios = defaults.anchors(np.stack([side * 2, side / 2], 1))
        self.assertLess(ratios[0], 0.3)

    def test_an_anchor_that_is_the_object_overlaps_it_wholly_where_the_grid_is_fine(self):
        boxes = np.full((100, 2), 64.0)
        self.assertGreater(defaults.overlap(boxes, (64, 1, 1, 1, 1), (1.0,)), 0.93)
        self.assertLess(defaults.overlap(boxes, (1, 1, 1, 1, 64), (1.0,)), 0.65)


class Scale(unittest.TestCase):
    def test_pictures_are_fitted_in_and_tiles_keep_their_scale(self):
        self.assertEqual(Fit((640, 480))(960, 640), 0.5)
        self.assertEqual(Fit((512, 512), 512)(1024, 2048), 1.0)
        self.assertEqual(Fit((512, 512), 1024)(4096, 4096), 0.5)
        self.assertEqual(Fit((512, 512), 512)(256, 256), 2.0)  # smaller than a tile: fitted in

    def test_crowded_pictures_ask_for_more_detections(self):
        self.assertEqual(defaults.crowd([picture(9, 9, [(3, 3)] * 12)]), (100, (300, 100)))
        self.assertEqual(defaults.crowd([picture(9, 9, [(3, 3)] * 300)]), (400, (1000, 800)))

    def test_what_is_given_is_kept(self):
        given = ["--coco", "a", "--images", "b", "--out", "c", "--input", "384x288", "--anchors", "24,40,64,100,160"]
        options = cli.parser().parse_args([*given, "--detections", "50", "--proposals", "300,100"])
        said = defaults.fill(options, [picture(640, 480, [(300, 20)] * 200)])
        self.assertEqual((options.input, options.anchors), ((384, 288), (24, 40, 64, 100, 160)))
        self.assertEqual((options.detections, options.proposals), (50, (300, 100)))
        self.assertEqual((options.ratios, options.coarse, options.fine), ((0.5, 1.0, 2.0), (256, 192), (384, 288)))
        self.assertEqual(len(said), 1)

    def test_wrong_numbers_are_refused(self):
        for line in ("--input 300x200", "--anchors 1,2,3", "--ratios 1", "--minutes 3 --steps 4", "--input x"):
            words = ["--coco", "a", "--images", "b", "--out", "c", *line.split()]
            with self.assertRaises(SystemExit), mock.patch.object(argparse.ArgumentParser, "_print_message"):
                cli.parser().parse_args(words)


class Order(unittest.TestCase):
    def batches(self, sources, tile=None, **changes):
        options = cli.parser().parse_args(["--coco", "a", "--images", "b", "--out", "c"])
        vars(options).update({"input": (256, 256), "procs": 1, "batch": 2, "tile": tile} | changes)
        return Batches(Sized(sources), None, (64, 64), 0, 0, options, (1.0, 1.0))

    def test_an_epoch_shows_each_picture_once(self):
        order = self.batches([(100, 100)] * 7).order()
        first, second = list(itertools.islice(order, 7)), list(itertools.islice(order, 7))
        self.assertEqual(sorted(first), list(range(7)))
        self.assertEqual(sorted(second), list(range(7)))
        self.assertNotEqual(first, second)

    def test_a_picture_of_many_tiles_comes_more_often(self):
        # 4 x 4 tiles against one: four times as often, by the root.
        order = self.batches([(256, 256), (1024, 1024)], tile=256).order()
        found = np.bincount(list(itertools.islice(order, 500)))
        np.testing.assert_array_equal(found, [100, 400])


class Sized:
    def __init__(self, sources):
        self.sources, self.folder = sources, "x"

    def __len__(self):
        return len(self.sources)
