"""The loop: batches that follow from the step alone, runs that stop and go on, a run from beginning to end."""

import contextlib
import io
import itertools
import json
import signal
import tempfile
import tomllib
import unittest
from pathlib import Path

import torch

from .. import annotations, cli, defaults
from ..checkpoint import SHARED
from ..dataset import CocoSet
from ..loader import Batches, stream
from ..model import Facts, anchors_for, build
from ..train import Trainer
from . import pictures

SMALL = "--arch resnet18c64-fpn16 --representation 32 --input 96x64 --coarse 64x64 --fine 96x64 --average-every 2"
SMALL += " --procs 1 --batch 2 --anchors 12,20,32,48,64 --fine-from 0.5 --init none --eval-images 2 --seed 5"


class Run(unittest.TestCase):
    def setUp(self):
        held = tempfile.TemporaryDirectory()
        self.addCleanup(held.cleanup)
        self.folder = Path(held.name)
        self.coco, self.images = pictures.write(self.folder, count=6)

    def words(self, name, *more):
        return ["--coco", str(self.coco), "--images", str(self.images), "--out", str(self.folder / name), *SMALL.split(), *more]

    def trainer(self, name, *more, rank=0):
        options = cli.parser().parse_args(self.words(name, *more))
        cli.settle(options)
        data = annotations.read(self.coco, self.images)
        defaults.fill(options, data.pictures)
        options.provenance = cli.provenance(options, data, ["x"])
        coco = CocoSet(data.pictures, self.images, options.cache)
        torch.manual_seed(options.seed)
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            return Trainer(rank, options, coco, data)

    def quietly(self, what):
        with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.redirect_stderr(io.StringIO()):
            return what(), said.getvalue()

    def stopped_at(self, step, name, *more):
        """A run that is told to stop in the middle."""
        trainer = self.trainer(name, *more)
        one_step = trainer.one_step

        def stop_then(*arguments):
            if trainer.step + 1 == step:
                trainer.stop(signal.SIGUSR2, None)
            return one_step(*arguments)

        trainer.one_step = stop_then
        return trainer, self.quietly(trainer.run)[0]


class Resume(Run):
    def test_a_stopped_and_resumed_run_gives_the_weights_of_one_that_was_not(self):
        # Stopped within a phase: the whole run makes no new loader there.
        more = "--steps", "8", "--fine-from", "0.75"
        whole = self.trainer("whole", *more)
        self.assertTrue(self.quietly(whole.run)[0])
        stopped, ended = self.stopped_at(3, "parts", *more)
        self.assertFalse(ended)
        self.assertEqual(stopped.step, 4)  # at the next averaging
        resumed = self.trainer("parts", *more, "--resume")
        self.assertEqual(resumed.step, 4)
        self.assertTrue(self.quietly(resumed.run)[0])
        for kind in ("model", "ema"):
            expected, got = (getattr(t, kind).state_dict() for t in (whole, resumed))
            for name in expected:
                self.assertTrue(torch.equal(expected[name], got[name]), f"{kind} {name}")
        self.assertFalse(torch.equal(stopped.parameters[0], resumed.parameters[0]))

    def test_another_seed_gives_other_weights(self):
        runs = [self.trainer(name, "--steps", "2", "--seed", seed) for name, seed in (("a", "5"), ("b", "6"))]
        for run in runs:
            self.quietly(run.run)
        self.assertFalse(torch.equal(runs[0].parameters[0], runs[1].parameters[0]))

    def test_a_checkpoint_of_other_settings_or_a_torn_one_is_refused(self):
        self.stopped_at(1, "run", "--steps", "4")
        with self.assertRaisesRegex(SystemExit, "made with score|made with anchor_sizes"):
            self.trainer("run", "--steps", "4", "--resume", "--anchors", "1,2,3,4,5")
        file = self.folder / "run" / SHARED
        file.write_bytes(file.read_bytes()[:1000])
        with self.assertRaisesRegex(SystemExit, "no checkpoint can be read"):
            self.trainer("run", "--steps", "4", "--resume")

    def test_a_process_without_its_own_part_goes_on_with_the_first_ones_optimizer(self):
        first, _ = self.stopped_at(1, "run", "--steps", "4")
        other = self.trainer("run", "--steps", "4", "--resume", rank=1)
        self.assertEqual(other.step, first.step)
        moments = [t.optimizer.state[t.parameters[0]]["exp_avg"] for t in (first, other)]
        self.assertTrue(torch.equal(*moments))


class Stream(Run):
    def batches(self, first=0, rank=0, **changes):
        options = cli.parser().parse_args(self.words("x", "--steps", "4"))
        vars(options).update(changes)
        data = annotations.read(self.coco, self.images)
        coco = CocoSet(data.pictures, self.images, self.folder / "cache")
        facts = Facts(options.arch, 3, 96, 64, anchor_sizes=options.anchors)
        anchors, _ = anchors_for(build(facts), 64, 64)
        return Batches(coco, anchors.numpy(), (64, 64), rank, first, options, (0.8, 1.2))

    def take(self, count, *arguments, workers=0, **changes):
        return list(itertools.islice(stream(self.batches(*arguments, **changes), workers), count))

    def same(self, a, b):
        return all(torch.equal(x[k], y[k]) for x, y in zip(a, b, strict=True) for k in x)

    def test_any_number_of_workers_makes_the_same_batches(self):
        alone = self.take(5)
        self.assertTrue(self.same(alone, self.take(5, workers=2)))
        self.assertFalse(self.same(alone[:1], alone[1:2]))

    def test_a_stream_can_begin_anywhere(self):
        self.assertTrue(self.same(self.take(5)[3:], self.take(2, 3)))

    def test_processes_share_an_epoch_out(self):
        shown = []
        for rank in (0, 1):
            batches = self.batches(0, rank, procs=2, batch=1)
            batches.one = lambda rng, i: shown.append(i) or rank
            for _ in itertools.islice(self.places(batches), 3):
                pass
        self.assertEqual(sorted(shown), list(range(6)))

    def places(self, batches):
        """The batches, without what is in them."""
        from unittest import mock

        with mock.patch("maskcast_training.loader.collate", side_effect=lambda samples: samples):
            yield from batches


class Whole(Run):
    def test_from_a_folder_to_an_engine(self):
        _, said = self.quietly(lambda: cli.main(self.words("mine", "--steps", "4", "--licence", "CC0-1.0")))
        out = self.folder / "mine"
        engine = tomllib.loads((out / "mine.toml").read_text())
        self.assertEqual(engine["classes"], ["bolt", "nut"])
        self.assertEqual(engine["weights"]["licence"], "CC0-1.0")
        self.assertEqual(engine["weights"]["figures"]["steps"], 4)
        self.assertEqual(engine["weights"]["data"], "ann.json: 5 pictures, 5 objects")
        self.assertNotIn(str(self.folder), engine["weights"]["command"])
        held = json.loads((out / "split.json").read_text())["held_out"]
        judged = json.loads((out / "held-out.json").read_text())
        self.assertEqual([i["file_name"] for i in judged["images"]], held)
        self.assertEqual(judged["categories"], [{"id": 1, "name": "bolt"}, {"id": 2, "name": "nut"}])
        self.assertGreater((out / "curve.png").stat().st_size, 10_000)
        self.assertIn("maskcast eval --engine", said)

    def test_a_wrong_line_is_one_sentence(self):
        for words, part in (
            (["--val-images", str(self.folder)], "--val-images needs --val-coco"),
            (["--minutes", "0"], "expected more than 0"),
            (["--device", "cuda", "--procs", "2"], "--device cuda"),
        ):
            with self.assertRaises(SystemExit) as caught:
                self.quietly(lambda: cli.main(self.words("x", *words)))
            self.assertIn(part, str(caught.exception))
