"""What a run leaves to look at: rows.csv (losses every 25 steps), ap.csv, curve.png."""

import csv
import time

from .evaluate import NAMES

FIELDS = ("step", "minutes", "lr", "images_per_s", "waited", "objectness", "rpn_box", "class", "box", "mask", "norm")
EVERY = 25
COLOURS = {"mask": "#1b6ca8", "box": "#d1495b", "class": "#2a9d8f", "objectness": "#8d6a9f", "rpn_box": "#edae49"}


class Rows:
    def __init__(self, out, keep):
        self.out, self.pending, self.since, self.text = out, [], time.monotonic(), ""
        if not keep:
            for name in ("rows.csv", "ap.csv"):
                (out / name).unlink(missing_ok=True)

    def append(self, name, row):
        path = self.out / name
        fresh = not path.exists()
        with open(path, "a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(row))
            if fresh:
                writer.writeheader()
            writer.writerow({k: f"{v:.5g}" if isinstance(v, float) else v for k, v in row.items()})

    def add(self, row):
        self.pending.append(row)
        if len(self.pending) < EVERY:
            return
        now = time.monotonic()
        mean = {k: sum(r[k] for r in self.pending) / len(self.pending) for k in row}
        mean |= {"step": row["step"], "minutes": row["minutes"], "lr": row["lr"]}
        mean["images_per_s"] = sum(r["images"] for r in self.pending) / (now - self.since)
        self.append("rows.csv", {k: mean[k] for k in FIELDS})
        losses = " ".join(f"{k} {mean[k]:.3f}" for k in COLOURS)
        self.text = f"step {row['step']}, {mean['images_per_s']:.1f} images/s; losses: {losses}"
        self.pending, self.since = [], now

    def judge(self, step, minutes, images, figures, by_class):
        classes = {f"mask_ap {name}": value for name, value in by_class.items()}
        self.append("ap.csv", {"step": step, "minutes": minutes, "images": images, **figures, **classes})
        self.since = time.monotonic()
        self.plot()

    def table(self, name, columns):
        """-> a list of {column: number}, oldest first; the last run's rows where a run began again from an older checkpoint."""
        if not (self.out / name).exists():
            return []
        with open(self.out / name, newline="", encoding="utf-8") as file:
            rows = [{k: float(r[k]) for k in columns} for r in csv.DictReader(file)]
        return [r for i, r in enumerate(rows) if all(r["step"] <= later["step"] for later in rows[i + 1 :])]

    def plot(self):
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt
        from matplotlib.ticker import FormatStrFormatter, LogLocator

        losses, points = self.table("rows.csv", FIELDS), self.table("ap.csv", ("step", "minutes", *NAMES))
        style = {"axes.spines.top": False, "axes.spines.right": False, "axes.grid": True, "grid.alpha": 0.25, "font.size": 10}
        with plt.rc_context(style):
            figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2))
            for name, colour in COLOURS.items():
                left.plot([r["minutes"] for r in losses], [r[name] for r in losses], color=colour, lw=1.5, label=name)
            left.set(title="Losses", xlabel="minutes", yscale="log")
            left.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            left.yaxis.set_major_formatter(FormatStrFormatter("%g"))
            left.minorticks_off()
            if losses:
                left.legend(frameon=False, ncols=3, fontsize=9)
            for name in NAMES:
                colour, dashes = COLOURS[name.split("_")[0]], "--" if name.endswith("50") else "-"
                label = name.replace("_ap", " AP")
                values = [r[name] for r in points]
                right.plot([r["minutes"] for r in points], values, dashes, color=colour, marker="o", ms=4, label=label)
            top = max((r[name] for r in points for name in NAMES if r[name] == r[name]), default=1)
            right.set(title="Average precision, pictures never trained on", xlabel="minutes")
            right.set_ylim(0, min(1, top * 1.2 + 0.02))
            right.legend(frameon=False, fontsize=9, loc="upper left")
            if points and points[-1]["mask_ap"] == points[-1]["mask_ap"]:
                at = points[-1]["minutes"], points[-1]["mask_ap"]
                right.annotate(f"{at[1]:.3f}", at, xytext=(0, 7), textcoords="offset points", ha="center", fontweight="bold")
            figure.tight_layout()
            figure.savefig(self.out / "curve.part.png", dpi=130)
        plt.close(figure)
        (self.out / "curve.part.png").replace(self.out / "curve.png")
