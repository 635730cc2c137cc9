"""The training loop: one process a core (or GPU), weights averaged every few steps, a schedule that follows the clock."""

import copy
import math
import os
import tempfile
import time

import torch
import torch.distributed as dist
from tqdm import tqdm

from .dataset import CocoSet, class_names
from .evaluate import NAMES, average_precision, load_truth, results_of
from .export import begin_from, export
from .loader import Batches, stream
from .losses import Step
from .model import Facts, anchors_for, build
from .record import EVERY, Rows

LOSSES = ("objectness", "rpn_box", "class", "box", "mask")


def launch(options):
    rendezvous = tempfile.mktemp(prefix="maskcast-training-")
    if options.procs == 1:
        return worker(0, options, rendezvous)
    torch.multiprocessing.start_processes(worker, (options, rendezvous), nprocs=options.procs, start_method="spawn")


def worker(rank, options, rendezvous):
    torch.manual_seed(options.seed)
    if options.device == "cpu":
        torch.set_num_threads(1)
    if options.procs > 1:
        dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=options.procs)
    Trainer(rank, options).run()
    if options.procs > 1:
        dist.destroy_process_group()
        if rank == 0 and os.path.exists(rendezvous):
            os.unlink(rendezvous)


class Trainer:
    def __init__(self, rank, options):
        self.rank, self.options, self.device = rank, options, torch.device(options.device)
        self.classes = class_names(options.coco)
        width, height = options.input
        self.facts = Facts(
            arch=options.arch,
            num_classes=len(self.classes) + 1,
            input_width=width,
            input_height=height,
            anchor_sizes=options.anchors,
            canonical_scale=options.canonical_scale,
            representation_size=options.representation,
            rpn_pre_nms_top_n=options.proposals[0],
            rpn_post_nms_top_n=options.proposals[1],
            detections_per_image=options.detections,
        )
        self.model = build(self.facts)
        if options.init:
            begin_from(self.model, options.init, say=rank == 0)
        self.model = self.model.to(self.device, memory_format=torch.channels_last).train()
        self.ema = copy.deepcopy(self.model).eval().requires_grad_(False)
        for module in self.model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 0.03
        self.parameters = list(self.model.parameters())
        decayed = [p for p in self.parameters if p.ndim > 1]
        plain = [p for p in self.parameters if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": options.weight_decay}, {"params": plain, "weight_decay": 0.0}],
            lr=options.lr,
            fused=True,
        )
        self.step, self.elapsed, self.coarse = 0, 0.0, True
        if options.resume and (options.out / "checkpoint.pt").exists():
            saved = torch.load(options.out / "checkpoint.pt", map_location=self.device)
            self.model.load_state_dict(saved["model"])
            self.ema.load_state_dict(saved["ema"])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.step, self.elapsed = saved["step"], saved["elapsed"]
        self.rows = Rows(options.out, keep=options.resume) if rank == 0 else None
        self.coco = CocoSet(options.coco, options.images, options.cache)
        self.truth, self.val_ids = load_truth(options.val_coco)

    def progress(self):
        o = self.options
        return min(1.0, self.step / o.steps if o.steps else self.elapsed / (60 * o.minutes))

    def enter_phase(self):
        """Sets up image size, anchors and loader for the present progress."""
        o = self.options
        self.coarse = self.progress() < o.fine_from
        width, height = o.coarse if self.coarse else o.fine
        anchors, per_level = anchors_for(self.ema.cpu() if self.device.type == "cpu" else self.ema, height, width)
        self.step_of = Step(self.model, self.facts, anchors.to(self.device), per_level, height, width, o)
        batches = Batches(
            self.coco,
            anchors.cpu().numpy(),
            (height, width),
            o.input[::-1],
            o.coarse_scales if self.coarse else o.fine_scales,
            o.batch,
            self.rank,
            o.procs,
            (o.seed, self.step),
            o,
            o.anchor_count,
            o.anchor_positive_iou,
        )
        self.batches = stream(batches, workers=1 if self.device.type == "cpu" else 12)

    def run(self):
        o = self.options
        started = time.monotonic() - self.elapsed
        self.enter_phase()
        saved = evaluated = self.elapsed
        bar = tqdm(total=100.0, disable=self.rank > 0, bar_format="{l_bar}{bar:20}| {elapsed} {postfix}")
        while self.progress() < 1 or self.step % o.average_every:
            if self.coarse and self.progress() >= o.fine_from:
                self.enter_phase()
            lr = self.learning_rate()
            losses, waited = self.one_step(lr, started)
            if self.rank == 0:
                row = {"step": self.step, "minutes": self.elapsed / 60, "lr": lr, "waited": waited}
                self.rows.add(row | {"images": o.batch * o.procs} | losses)
                bar.n = 100 * self.progress()
                if self.step % EVERY == 0:
                    bar.set_postfix_str(self.rows.text)
            if self.elapsed - saved >= 60 * o.save_minutes:
                saved = self.elapsed
                self.save()
            if self.elapsed - evaluated >= 60 * o.eval_minutes and self.progress() < 0.97:
                evaluated = self.elapsed
                self.evaluate(self.val_ids[: o.eval_images], "latest")
        self.save()
        self.evaluate(self.val_ids, "final")
        bar.close()

    def learning_rate(self):
        o = self.options
        return o.lr * min(1.0, (self.step + 1) / o.warmup) * (0.01 + 0.99 * (1 + math.cos(math.pi * self.progress())) / 2)

    def one_step(self, lr, started):
        o, began = self.options, time.monotonic()
        batch = {k: v.to(self.device, non_blocking=True) for k, v in next(self.batches).items()}
        waited = time.monotonic() - began
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        frozen = self.progress() >= o.freeze_bn_from
        for module in self.model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
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
        """Averages the weights over the processes and into the moving average.

        Rank 0's clock travels along and only moves here, so that all processes take the same decisions.
        """
        if self.options.procs > 1:
            clock = torch.tensor([elapsed if self.rank == 0 else 0.0], device=self.device)
            flat = torch.cat([p.reshape(-1) for p in self.parameters] + [clock])
            dist.all_reduce(flat)
            elapsed, at = float(flat[-1]), 0
            for p in self.parameters:
                p.copy_(flat[at : at + p.numel()].view_as(p)).div_(self.options.procs)
                at += p.numel()
        self.elapsed = elapsed
        k = self.options.average_every
        decay = min(self.options.ema, (1 + self.step) / (20 + self.step)) ** k
        torch._foreach_lerp_(list(self.ema.parameters()), self.parameters, 1 - decay)
        pairs = [(a, b) for a, b in zip(self.ema.buffers(), self.model.buffers()) if a.is_floating_point()]
        torch._foreach_lerp_([a for a, _ in pairs], [b for _, b in pairs], 1 - decay)

    def save(self):
        if self.rank:
            return
        path = self.options.out / "checkpoint.pt"
        state = {
            "model": self.model.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "elapsed": self.elapsed,
        }
        torch.save(state, path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)
        self.write("latest", {})

    def write(self, name, notes):
        notes = {"trained_steps": self.step, "trained_minutes": round(self.elapsed / 60, 1)} | notes
        export(self.ema.state_dict(), self.facts, self.classes, self.options.out / f"{name}.safetensors", notes)

    def evaluate(self, ids, name):
        """Each process judges its share of the images with the averaged weights; rank 0 adds up and exports."""
        o = self.options
        if o.procs > 1:
            for buffer in self.ema.buffers():
                if buffer.is_floating_point():
                    dist.all_reduce(buffer)
                    buffer.div_(o.procs)
        images = [(i, o.val_images / self.truth.imgs[i]["file_name"]) for i in ids[self.rank :: o.procs]]
        rows = results_of(self.ema, self.facts, images, autocast=name != "final")
        if o.procs > 1:
            gathered = [None] * o.procs
            dist.all_gather_object(gathered, rows)
            rows = sum(gathered, [])
        if self.rank == 0:
            figures, by_class = average_precision(self.truth, rows, ids, max(100, self.facts.detections_per_image))
            self.write(name, {"validation_images": len(ids), "mask_ap_by_class": by_class} | figures)
            self.rows.judge(self.step, self.elapsed / 60, figures)
            shown = " ".join(f"{k} {figures[k]:.3f}" for k in NAMES)
            tqdm.write(f"\n{name}: step {self.step}, {self.elapsed / 60:.1f} min, {len(ids)} images: {shown}; mask_ap {by_class}")
