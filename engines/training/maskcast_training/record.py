"""What a run leaves to look at: rows.csv (losses every 25 steps), ap.csv, curve.png."""

import csv
import time

FIELDS = ("step", "minutes", "lr", "images_per_s", "waited", "objectness", "rpn_box", "class", "box", "mask", "norm")
EVERY = 25


class Rows:
    def __init__(self, out, keep):
        self.out, self.pending, self.since, self.text = out, [], time.monotonic(), ""
        if not keep:
            for name in ("rows.csv", "ap.csv"):
                (out / name).unlink(missing_ok=True)

    def append(self, name, row):
        path = self.out / name
        fresh = not path.exists()
        with open(path, "a", newline="") as file:
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
        self.text = " ".join(f"{k} {mean[k]:.3g}" for k in FIELDS)
        self.pending, self.since = [], now

    def judge(self, step, minutes, figures):
        self.append("ap.csv", {"step": step, "minutes": minutes, **figures})
        self.since = time.monotonic()
        self.plot()

    def plot(self):
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt

        def table(name):
            if not (self.out / name).exists():
                return []
            return [{k: float(v) for k, v in r.items()} for r in csv.DictReader(open(self.out / name))]

        losses, points = table("rows.csv"), table("ap.csv")
        figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4))
        for name in ("objectness", "rpn_box", "class", "box", "mask"):
            left.plot([r["minutes"] for r in losses], [r[name] for r in losses], label=name)
        left.set(xlabel="minutes", ylabel="loss", yscale="log")
        for name in ("mask_ap", "mask_ap50", "box_ap"):
            right.plot([r["minutes"] for r in points], [r[name] for r in points], marker="o", label=name)
        right.set(xlabel="minutes", ylabel="average precision", ylim=(0, 1))
        for axes in (left, right):
            axes.legend()
            axes.grid(alpha=0.3)
        figure.tight_layout()
        figure.savefig(self.out / "curve.png", dpi=110)
        plt.close(figure)
