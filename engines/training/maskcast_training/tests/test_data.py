"""COCO folders as people have them: ids, masks, crowds, damage, the held-out part, the cache."""

import json
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from .. import annotations, split
from ..dataset import DAMAGED, CocoSet, read_rgb
from . import pictures


class Folder(unittest.TestCase):
    def setUp(self):
        held = tempfile.TemporaryDirectory()
        self.addCleanup(held.cleanup)
        self.folder = Path(held.name)

    def read(self, edit=None, classes=None, **how):
        return annotations.read(*pictures.write(self.folder, edit=edit, **how), classes)

    def refused(self, *parts, edit=None):
        with self.assertRaises(SystemExit) as caught:
            self.read(edit)
        for part in parts:
            self.assertIn(part, str(caught.exception))


class Reading(Folder):
    def test_any_category_ids_become_1_to_n_in_order_of_id(self):
        data = self.read()
        self.assertEqual(data.classes, ["bolt", "nut"])
        self.assertEqual([p.objects[0].label for p in data.pictures], [1, 2, 1, 2])

    def test_a_validation_set_follows_the_names_whatever_its_ids(self):
        def other_ids(data):
            data["categories"] = [{"id": 1, "name": "nut"}, {"id": 2, "name": "bolt"}]
            for a in data["annotations"]:
                a["category_id"] = {7: 2, 90: 1}[a["category_id"]]

        self.assertEqual([p.objects[0].label for p in self.read(other_ids, ["bolt", "nut"]).pictures], [1, 2, 1, 2])
        with self.assertRaisesRegex(SystemExit, "its classes are bolt, nut; expected those of the training part: screw"):
            self.read(None, ["screw"])

    def test_crowds_are_kept_apart_and_empty_pictures_stay(self):
        def edit(data):
            data["annotations"][0]["iscrowd"] = 1
            del data["annotations"][1]

        data = self.read(edit)
        self.assertEqual([(len(p.objects), len(p.crowds)) for p in data.pictures], [(0, 1), (0, 0), (1, 0), (1, 0)])
        self.assertIn("2 pictures without any", str(data))
        self.assertEqual(data.left.reasons, {})

    def test_polygons_and_both_kinds_of_run_lengths_are_the_same_mask(self):
        polygon = pictures.square(4, 5, 24)
        mask = coco_mask.decode(annotations.rle_of(polygon, 64, 96))
        compressed = coco_mask.encode(np.asfortranarray(mask))
        flat = mask.ravel(order="F")
        edges = np.flatnonzero(np.diff(flat)) + 1
        counts = np.diff([0, *edges, len(flat)]).tolist()
        for outline in (
            {"size": [64, 96], "counts": compressed["counts"].decode()},
            {"size": [64, 96], "counts": counts},
            polygon,
        ):
            checked = annotations.outline_of(outline, 64, 96)
            np.testing.assert_array_equal(coco_mask.decode(annotations.rle_of(checked, 64, 96)), mask)
        for wrong in (
            None,
            [],
            [[1, 2, 3, 4]],
            [[1, 2, 3, 4, 5, "6"]],
            {"size": [96, 64], "counts": compressed["counts"].decode()},
            {"size": [64, 96], "counts": [1, 2, 3]},
            {"size": [64, 96], "counts": "torn"},
            {"size": [64, 96], "counts": None},
            "x",
        ):
            self.assertIsNone(annotations.outline_of(wrong, 64, 96), wrong)

    def test_run_lengths_of_any_mask_add_up(self):
        rng = np.random.default_rng(1)
        for share in (0.0, 0.01, 0.3, 0.9, 1.0):
            mask = np.asfortranarray(rng.random((37, 53)) < share, dtype=np.uint8)
            text = coco_mask.encode(mask)["counts"].decode()
            self.assertTrue(annotations.runs_add_up(text, mask.size))
            self.assertFalse(annotations.runs_add_up(text, mask.size + 1))

    def test_missing_box_and_area_come_from_the_mask(self):
        def edit(data):
            del data["annotations"][0]["bbox"], data["annotations"][0]["area"]

        thing = self.read(edit).pictures[0].objects[0]
        self.assertEqual((thing.box, thing.area), ((4.0, 5.0, 24.0, 24.0), 576.0))


class Damage(Folder):
    def test_what_is_wrong_with_the_whole_is_one_sentence(self):
        self.refused("ann.json: two categories have the name 'nut'", edit=lambda d: d["categories"][1].update(name="nut"))
        self.refused('ann.json: no list "categories"', edit=lambda d: d.pop("categories"))
        self.refused("no object to learn from", edit=lambda d: d["annotations"].clear())
        gone = lambda d: [i.update(file_name="no.png") for i in d["images"]]  # noqa: E731
        self.refused("none of its 4 images can be used", "no.png", edit=gone)
        path, images = pictures.write(self.folder)
        for text, part in (("{", "ann.json:1:2: not JSON"), ("[]", 'no list "images"')):
            path.write_text(text)
            with self.assertRaises(SystemExit) as caught:
                annotations.read(path, images)
            self.assertIn(part, str(caught.exception))
        with self.assertRaisesRegex(SystemExit, "none.json: No such file"):
            annotations.read(self.folder / "none.json", images)

    def test_what_is_wrong_with_a_picture_or_object_is_named_and_counted(self):
        def edit(data):
            data["images"][0]["file_name"] = "gone.png"
            data["images"][1].update(width=64, height=96)
            data["annotations"][2]["segmentation"] = []
            data["annotations"].append({"id": 50, "image_id": 999, "category_id": 7})
            data["annotations"].append({"id": 51, "image_id": 103, "category_id": 8, "segmentation": pictures.square(1, 1, 9)})

        data = self.read(edit)
        self.assertEqual([p.id for p in data.pictures], [102, 103])
        said = str(data)
        for part in (
            "(gone.png)",
            "1.png is 96x64, not 64x96, turned by its rotation tag",
            "1 annotations without a usable segmentation (3)",
            "an image that is not listed (50)",
            "a category that is not listed (51)",
        ):
            self.assertIn(part, said)

    def test_a_file_that_breaks_off_is_found_when_it_is_decoded(self):
        path, images = pictures.write(self.folder)
        whole = (images / "2.png").read_bytes()
        (images / "2.png").write_bytes(whole[: len(whole) // 2])
        data = annotations.read(path, images)
        coco = CocoSet(data.pictures, images, self.folder / "cache")
        self.assertEqual([coco[i] is None for i in range(4)], [False, False, True, False])
        self.assertEqual(coco.damaged(), ["2.png"])

    def test_a_rotation_tag_is_not_followed(self):
        path, images = pictures.write(self.folder)
        jpeg = cv2.imencode(".jpg", cv2.imread(str(images / "0.png")))[1].tobytes()
        # APP1: Exif, one entry: orientation (0x0112) = 6, a quarter turn.
        tag = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
        turned = jpeg[:2] + b"\xff\xe1" + (len(tag) + 2).to_bytes(2, "big") + tag + jpeg[2:]
        (images / "0.png").write_bytes(turned)
        self.assertEqual(cv2.imread(str(images / "0.png")).shape, (96, 64, 3))
        self.assertEqual(read_rgb(images / "0.png", 96, 64).shape, (64, 96, 3))
        self.assertEqual(annotations.read(path, images).pictures[0].width, 96)


class HeldOut(unittest.TestCase):
    def names(self, count, prefix="img"):
        thing = annotations.Object(1, [], (0, 0, 9, 9), 81.0)
        return [annotations.Picture(i, f"{prefix}{i:04}.jpg", 9, 9, [thing]) for i in range(count)]

    def test_about_one_in_ten_at_least_one_at_most_five_hundred(self):
        for count, held in ((2, 1), (19, 1), (40, 3), (2000, 207), (6000, 500)):
            kept, out = split.hold_out(self.names(count))
            self.assertEqual((len(kept), len(out)), (count - held, held))
        with self.assertRaisesRegex(SystemExit, "one picture is too few"):
            split.hold_out(self.names(1))

    def test_a_picture_stays_on_its_side_whatever_is_added(self):
        _, out = split.hold_out(self.names(40))
        self.assertEqual([p.file_name for p in out], ["img0015.jpg", "img0031.jpg", "img0034.jpg"])
        _, shuffled = split.hold_out(self.names(40)[::-1])
        self.assertEqual({p.id for p in shuffled}, {p.id for p in out})
        kept, more = split.hold_out(self.names(40) + self.names(60, "new"))
        self.assertEqual([p.file_name for p in more if p.file_name.startswith("img")], [p.file_name for p in out])
        self.assertEqual(sum(p.file_name.startswith("img") for p in kept), 37)


class Cache(Folder):
    def test_frames_and_grids(self):
        data = self.read()
        coco = CocoSet(data.pictures, data.folder, self.folder / "cache")
        for _ in range(2):  # decoded, then from the cache
            pixels, frames, labels, grids = coco[1]
            self.assertEqual(pixels.shape, (64, 96, 3))
            np.testing.assert_array_equal(frames, [[7, 6, 31, 30]])
            np.testing.assert_array_equal(labels, [2])
            self.assertTrue(grids.all())

    def test_what_could_not_be_read_once_is_tried_again_by_the_next_run(self):
        data = self.read()
        coco = CocoSet(data.pictures, data.folder, self.folder / "cache")
        coco.state[1] = DAMAGED
        self.assertIsNone(coco[1])
        self.assertIsNotNone(CocoSet(data.pictures, data.folder, self.folder / "cache")[1])

    def test_large_pictures_are_kept_small_and_frames_with_them(self):
        data = self.read()
        coco = CocoSet(data.pictures, data.folder, self.folder / "cache", lambda h, w: 0.25)
        pixels, frames, _, _ = coco[1]
        self.assertEqual(pixels.shape, (24, 36, 3))  # 1.5 times a quarter
        np.testing.assert_allclose(frames, [[7 * 0.375, 6 * 0.375, 31 * 0.375, 30 * 0.375]])

    def test_without_room_for_pixels_they_are_decoded_each_time(self):
        data = self.read()
        with mock.patch("shutil.disk_usage", return_value=mock.Mock(free=1000)):
            coco = CocoSet(data.pictures, data.folder, self.folder / "cache")
        self.assertEqual(coco.pixel_bytes, 0)
        roomy = CocoSet(data.pictures, data.folder, self.folder / "other")
        for i in (0, 0, 3):
            for a, b in zip(coco[i], roomy[i]):
                np.testing.assert_array_equal(a, b)

    def test_another_file_of_the_same_name_is_another_picture(self):
        data = self.read()
        one = CocoSet(data.pictures, data.folder, self.folder / "cache")
        data.pictures[0].stamp = (1, 2)
        self.assertNotEqual(CocoSet(data.pictures, data.folder, self.folder / "cache").path, one.path)


class Written(Folder):
    def test_what_was_read_can_be_written_and_read_again(self):
        data = self.read(lambda d: d["annotations"][0].update(iscrowd=1))
        plain = annotations.as_coco(data.pictures, data.classes)
        again = self.folder / "plain.json"
        again.write_text(json.dumps(plain))
        self.assertEqual(annotations.read(again, data.folder).pictures, data.pictures)
