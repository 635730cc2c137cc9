"""The training loop: one process a core (or GPU), weights averaged every few steps, a schedule that follows the clock.

With --steps, everything follows from the seed: a run that was stopped and resumed gives the very weights of one that was not.
With --minutes the clock decides how many steps there are.
"""

import copy
import math
import os
import signal
import sys
import tempfile
import time

import torch
import torch.distributed as dist
from tqdm import tqdm

from .checkpoint import forget, load, save
from .evaluate import NAMES, STANDARD, average_precision, results_of, truth_of
from .export import begin_from, export
from .loader import Batches, stream
from .losses import Step
from .model import Facts, anchors_for, build
from .record import EVERY, Rows

LOSSES = ("objectness", "rpn_box", "class", "box", "mask")
LR_ANEW, LR_ON = 2.5e-3, 1.5e-3  # from random weights; from trained ones
WARM_SHARE = 0.08  # of the run, at most
WORKERS_OF_GPU = 12


def launch(options, training, held_out):
    """training: CocoSet; held_out: Annotations. -> whether the run came to its end."""
    rendezvous = tempfile.mktemp(prefix="maskcast-training-")
    ended = torch.multiprocessing.get_context("spawn").Value("b", 0)
    work = (options, training, held_out, rendezvous, ended)
    if options.procs == 1:
        worker(0, *work)
    else:
        # Ctrl-C reaches the processes themselves, and they end by saving.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        torch.multiprocessing.start_processes(worker, work, nprocs=options.procs, start_method="spawn")
        signal.signal(signal.SIGINT, before)
    return bool(ended.value)


def worker(rank, options, training, held_out, rendezvous, ended):
    torch.manual_seed(options.seed)  # the same first weights everywhere
    if options.device == "cpu":
        torch.set_num_threads(1)
    if options.procs > 1:
        dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=options.procs)
    trainer = Trainer(rank, options, training, held_out)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, trainer.stop)
    if trainer.run() and rank == 0:
        ended.value = 1
    if options.procs > 1:
        dist.destroy_process_group()
        if rank == 0 and os.path.exists(rendezvous):
            os.unlink(rendezvous)


class Trainer:
    def __init__(self, rank, options, training, held_out):
        self.rank, self.options, self.device = rank, options, torch.device(options.device)
        self.coco, self.held_out = training, held_out
        self.truth = truth_of(held_out.pictures, held_out.classes)
        width, height = options.input
        self.facts = Facts(
            arch=options.arch,
            num_classes=len(held_out.classes) + 1,
            input_width=width,
            input_height=height,
            anchor_sizes=options.anchors,
            anchor_ratios=options.ratios,
            canonical_scale=options.canonical_scale,
            representation_size=options.representation,
            rpn_pre_nms_top_n=options.proposals[0],
            rpn_post_nms_top_n=options.proposals[1],
            detections_per_image=options.detections,
        )
        self.model = build(self.facts)
        known = begin_from(self.model, options.init, say=rank == 0) if options.init else 0.0
        self.lr = options.lr or (LR_ON if known > 0.5 else LR_ANEW)
        self.model = self.model.to(self.device, memory_format=torch.channels_last).train()
        self.ema = copy.deepcopy(self.model).eval().requires_grad_(False)
        self.norms = [m for m in self.model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
        for module in self.norms:
            module.momentum = 0.03
        self.parameters = list(self.model.parameters())
        self.statistics = [b for b in self.model.buffers() if b.is_floating_point()]
        decayed = [p for p in self.parameters if p.ndim > 1]
        plain = [p for p in self.parameters if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": options.weight_decay}, {"params": plain, "weight_decay": 0.0}],
            lr=self.lr,
            fused=True,
        )
        self.step, self.elapsed, self.coarse, self.rate = 0, 0.0, True, 0.0
        self.asked_to_stop = self.stopping = False  # here; by all
        torch.manual_seed(options.seed * 1000 + rank)  # of the RoIs chosen: each process its own
        if options.resume:
            load(self)
        else:
            forget(options.out, rank)
        self.rows = Rows(options.out, keep=self.step > 0) if rank == 0 else None

    def stop(self, number, _frame):
        """At the first signal the run ends at the next averaging, with a checkpoint; at the second, at once."""
        self.asked_to_stop = True
        signal.signal(number, signal.SIG_DFL)

    def progress(self):
        o = self.options
        return min(1.0, self.step / o.steps if o.steps else self.elapsed / (60 * o.minutes))

    def enter_phase(self):
        """Sets up image size, anchors and loader for the present progress."""
        o = self.options
        self.coarse = self.progress() < o.fine_from
        width, height = o.coarse if self.coarse else o.fine
        anchors, per_level = anchors_for(self.ema, height, width)
        self.step_of = Step(self.model, self.facts, anchors.to(self.device), per_level, height, width, o)
        scales = o.coarse_scales if self.coarse else o.fine_scales
        batches = Batches(self.coco, anchors.cpu().numpy(), (height, width), self.rank, self.step, o, scales)
        on_gpu = self.device.type == "cuda"
        workers = max(1, min(WORKERS_OF_GPU, len(os.sched_getaffinity(0)) - 1)) if on_gpu else 1
        self.batches = stream(batches, workers, pin=on_gpu)

    def run(self):
        """-> whether the run came to its end; False where a signal stopped it."""
        o = self.options
        started = time.monotonic() - self.elapsed
        self.enter_phase()
        if self.step == 0:
            self.evaluate(self.held_out.pictures[: o.eval_images], "start")
            started = time.monotonic()
        saved = evaluated = self.elapsed
        often = 0.5 if sys.stderr.isatty() else 60.0
        layout = "{percentage:3.0f}%|{bar:20}| {elapsed} {postfix}"
        bar = tqdm(total=100.0, disable=self.rank > 0, bar_format=layout, mininterval=often)
        while self.progress() < 1 or self.step % o.average_every:
            if self.coarse and self.progress() >= o.fine_from:
                self.enter_phase()
            losses, waited = self.one_step(started)
            met = self.step % o.average_every == 0
            if self.rank == 0:
                row = {"step": self.step, "minutes": self.elapsed / 60, "lr": self.rate, "waited": waited}
                self.rows.add(row | {"images": o.batch * o.procs} | losses)
                if self.step % EVERY == 0:
                    bar.set_postfix_str(self.rows.text, refresh=False)
                bar.update(100 * self.progress() - bar.n)
            if met and self.stopping:
                save(self)
                bar.close()
                return False
            if met and self.elapsed - saved >= 60 * o.save_minutes:
                saved = self.elapsed
                save(self)
                self.write("latest")
            if met and self.elapsed - evaluated >= 60 * o.eval_minutes and self.progress() < 0.97:
                evaluated = self.elapsed
                self.evaluate(self.held_out.pictures[: o.eval_images], "latest")
        save(self)
        bar.close()
        self.evaluate(self.held_out.pictures, "final")
        return True

    def learning_rate(self):
        warm = max((self.step + 1) / self.options.warmup, self.progress() / WARM_SHARE)
        return self.lr * min(1.0, warm) * (0.01 + 0.99 * (1 + math.cos(math.pi * self.progress())) / 2)

    def one_step(self, started):
        o, began = self.options, time.monotonic()
        batch = {k: v.to(self.device, non_blocking=True) for k, v in next(self.batches).items()}
        waited = time.monotonic() - began
        self.rate = self.learning_rate()
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate
        frozen = self.progress() >= o.freeze_bn_from
        for module in self.norms:
            module.train(not frozen)
        losses = self.step_of(batch)
        total = sum(w * losses[k] for k, w in zip(LOSSES, o.loss_weights))
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, 10.0)
        if torch.isfinite(norm):
            self.optimizer.step()
        self.step += 1
        if self.step % o.average_every == 0:
            self.meet(time.monotonic() - started)
        return {k: float(losses[k].detach()) for k in LOSSES} | {"norm": float(norm)}, waited

    @torch.no_grad()
    def meet(self, elapsed):
        """Averages the weights and statistics over the processes and into the moving average.

        Rank 0's clock, and anybody's wish to stop, travel along and only move here: all processes take the same decisions.
        """
        self.stopping = self.asked_to_stop
        if self.options.procs > 1:
            shared = self.parameters + self.statistics
            news = torch.tensor([elapsed if self.rank == 0 else 0.0, float(self.asked_to_stop)], device=self.device)
            flat = torch.cat([p.reshape(-1) for p in shared] + [news])
            dist.all_reduce(flat)
            elapsed, self.stopping, at = float(flat[-2]), bool(flat[-1] > 0), 0
            for p in shared:
                p.copy_(flat[at : at + p.numel()].view_as(p)).div_(self.options.procs)
                at += p.numel()
        self.elapsed = elapsed
        k = self.options.average_every
        decay = min(self.options.ema, (1 + self.step) / (20 + self.step)) ** k
        kept = [b for b in self.ema.buffers() if b.is_floating_point()]
        torch._foreach_lerp_(list(self.ema.parameters()) + kept, self.parameters + self.statistics, 1 - decay)

    def write(self, name, figures=None):
        """The averaged weights as an engine of this name, ready to be used."""
        if self.rank == 0:
            path = self.options.out / f"{name}.safetensors"
            export(self.ema.state_dict(), self.facts, self.held_out.classes, path, self.options.provenance, figures)

    def evaluate(self, pictures, name):
        """Each process judges its share with the averaged weights; rank 0 adds up, writes it down and exports."""
        o, final = self.options, name == "final"
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=not final):
            found = results_of(self.ema, self.facts, self.held_out.folder, pictures[self.rank :: o.procs], not final)
        if o.procs > 1:
            gathered = [None] * o.procs
            dist.all_gather_object(gathered, found)
            found = [sum(parts, []) for parts in zip(*gathered)]
        if self.rank:
            return
        rows, damaged = found
        ids = [p.id for p in pictures if p.id not in damaged]
        counted = max(STANDARD, self.facts.detections_per_image)
        figures, by_class = average_precision(self.truth, rows, ids, counted)
        self.rows.judge(self.step, self.elapsed / 60, len(ids), figures, by_class)
        shown = " ".join(f"{k} {figures[k]:.3f}" for k in NAMES)
        tqdm.write(f"{name}: step {self.step}, {self.elapsed / 60:.1f} min, {len(ids)} pictures held out: {shown}")
        if final:
            tqdm.write("mask AP by class: " + ", ".join(f"{k} {v:.3f}" for k, v in by_class.items()))
            figures = {k: round(v, 4) for k, v in figures.items() if v == v}
            figures |= {"pictures": len(ids), "steps": self.step, "minutes": round(self.elapsed / 60, 1)}
            figures |= {"detections_counted": counted} if counted > STANDARD else {}
            self.write(o.out.name, figures)
            for what, files in (("held out", damaged), ("trained on", self.coco.damaged())):
                if files:
                    first = ", ".join(map(str, files[:3]))
                    tqdm.write(f"left out, could not be decoded: {len(files)} pictures {what}: {first}")
        elif self.step:
            self.write("latest")
