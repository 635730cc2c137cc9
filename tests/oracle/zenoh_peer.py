#!/usr/bin/env python3
"""An independent subscriber: listens to a running maskcast and checks every message against the rules in src/wire/proto/maskcast.proto.

    python tests/oracle/zenoh_peer.py --connect tcp/127.0.0.1:7447 --seconds 10

Shares no code with maskcast: eclipse-zenoh, protobuf (the schema compiled here with grpcio-tools), pycocotools.
Exit status 1 and one line a violation when anything is wrong, or when fewer than --min-results results came.
    pip install eclipse-zenoh grpcio-tools pycocotools numpy
"""
import argparse
import collections
import hashlib
import importlib
import pathlib
import struct
import sys
import tempfile
import threading
import time

import numpy as np
import zenoh
from pycocotools import mask as coco

PROTO = pathlib.Path(__file__).resolve().parents[2] / "src" / "wire" / "proto"


def compiled_schema():
    from grpc_tools import protoc
    out = tempfile.mkdtemp(prefix="maskcast_pb2_")
    if protoc.main(["protoc", f"-I{PROTO}", f"--python_out={out}", "maskcast.proto"]):
        sys.exit("cannot compile maskcast.proto")
    sys.path.insert(0, out)
    return importlib.import_module("maskcast_pb2")


class Checks:
    def __init__(self, pb, prefix):
        self.pb, self.prefix, self.violations = pb, prefix, collections.Counter()
        self.last = {}                      # (session, key) -> last number
        self.last_session = {}              # key -> session
        self.count = collections.Counter()
        self.tombstones = collections.Counter()
        self.labels = {}
        self.instances = self.masks = self.bytes = 0
        self.latencies_ms = []
        self.first_shown = 0

    def wrong(self, key, text):
        self.violations[text.split(":")[0]] += 1
        if self.first_shown < 50:
            self.first_shown += 1
            print(f"VIOLATION {key}: {text}", file=sys.stderr)

    def attachment(self, key, sample, number, session):
        if sample.attachment is None:
            return self.wrong(key, "attachment: none")
        raw = sample.attachment.to_bytes()
        if len(raw) != 33 or raw[16] != 16:
            return self.wrong(key, f"attachment: {raw.hex()}")
        sequence, nanos = struct.unpack("<qq", raw[:16])
        if sequence != number or raw[17:] != session:
            self.wrong(key, f"attachment: number {sequence} for {number}, id {raw[17:].hex()} for {session.hex()}")
        return nanos

    def numbered(self, key, session, number):
        before = self.last.get((session, key))
        if before is not None and number != before + 1:
            self.wrong(key, f"gap: {before} then {number}")
        if before is None and key in self.last_session and number > 50:
            self.wrong(key, f"session: a new one starts at {number}")
        self.last[session, key], self.last_session[key] = number, session

    def sample(self, sample, received):
        key = str(sample.key_expr)
        tail = key[len(self.prefix) + 1:].split("/")[1:]
        kind = {"health": "Health", "info": "SystemInfo", "status": "CameraStatus", "labels": "LabelMap",
                "result": "FrameResult", "boxes": "FrameResult"}.get(tail[-1])
        if kind is None:
            return
        payload = sample.payload.to_bytes()
        self.count[kind if kind != "FrameResult" else "/".join(tail[2:])] += 1
        encoding = f"application/protobuf;maskcast.v1.{kind}"
        if str(sample.encoding) != encoding:
            self.wrong(key, f"encoding: {sample.encoding} instead of {encoding}")
        message = getattr(self.pb, kind)()
        try:
            message.ParseFromString(payload)
        except Exception as error:  # protobuf's DecodeError has several homes
            return self.wrong(key, f"protobuf: {error}")
        if len(payload) > 60_000:
            self.wrong(key, f"size: {len(payload)} bytes")
        if any(f for f in unknown_fields(message)):
            self.wrong(key, "fields: unknown to the schema")
        if kind == "FrameResult":
            self.bytes += len(payload)
            self.result(key, tail, message, sample, received)
        elif kind == "CameraStatus":
            self.attachment(key, sample, message.status_number, message.session_id)
            self.numbered(key, message.session_id, message.status_number)
            if not 0 < message.period_nanos <= 200_000_000 or message.camera != tail[1]:
                self.wrong(key, f"status: period {message.period_nanos}, camera {message.camera}")
        elif kind == "Health":
            self.attachment(key, sample, message.health_number, message.session_id)
            self.numbered(key, message.session_id, message.health_number)
        elif kind == "LabelMap":
            self.label_map(key, message)

    def label_map(self, key, labels):
        lines = "".join(f"{e.class_id}\t{e.name}\n" for e in labels.entries).encode()
        want = struct.unpack("<I", hashlib.sha256(lines).digest()[:4])[0]
        if want != labels.id or [e.class_id for e in labels.entries] != list(range(len(labels.entries))):
            self.wrong(key, f"labels: id {labels.id:#x} instead of {want:#x}")
        self.labels[labels.id] = [e.name for e in labels.entries]

    def result(self, key, tail, m, sample, received):
        pb, h = self.pb, m.header
        form = pb.FORM_RLE if tail[-1] == "result" else pb.FORM_BOXES
        nanos = self.attachment(key, sample, h.result_number, h.session_id)
        want = h.capture_time_unix_nanos or m.publish_time_unix_nanos
        if nanos is not None and nanos != want:
            self.wrong(key, f"attachment: time {nanos} instead of {want}")
        self.numbered(key, h.session_id, h.result_number)
        if m.form != form or h.camera != tail[1] or len(h.session_id) != 16:
            self.wrong(key, f"header: form {m.form}, camera {h.camera}")
        t, total = m.stage_times, m.stage_times.capture_to_published_nanos
        stages = [t.capture_to_arrival_nanos, t.arrival_to_decoded_nanos, t.decoded_to_submitted_nanos,
                  t.submitted_to_preprocessed_nanos, t.preprocessed_to_inferred_nanos, t.inferred_to_instances_nanos,
                  t.instances_to_published_nanos]
        if min(stages) < 0 or abs(sum(stages) - total) > 1000:
            self.wrong(key, f"stage times: {stages} do not add up to {total}")
        if (h.frame_number == 0) != (h.capture_time_unix_nanos == 0):
            self.wrong(key, f"header: frame {h.frame_number} with capture time {h.capture_time_unix_nanos}")
        outcome = m.WhichOneof("outcome")
        if outcome is None:
            return self.wrong(key, "outcome: neither")
        if outcome == "tombstone":
            if m.tombstone.reason == 0 or len(m.tombstone.detail.encode()) > 200:
                self.wrong(key, f"tombstone: {m.tombstone}")
            if m.tombstone.reason == pb.TOMBSTONE_REASON_SOURCE_STALLED and h.frame_number:
                self.wrong(key, "tombstone: SOURCE_STALLED with a frame")
            self.tombstones[pb.TombstoneReason.Name(m.tombstone.reason)] += 1
            return
        self.latencies_ms.append((received - h.capture_time_unix_nanos) / 1e6)
        if len(m.engine_id) != 16:
            self.wrong(key, "engine_id: not 16 bytes in an answer")
        order = [(-i.score, i.class_id, i.box.x0, i.box.y0) for i in m.answer.instances]
        if order != sorted(order) or [i.index for i in m.answer.instances] != list(range(1, len(order) + 1)):
            self.wrong(key, "order: not by score, class, corner")
        for i in m.answer.instances:
            self.instances += 1
            self.instance(key, form, m, i)

    def instance(self, key, form, m, i):
        w, h = m.header.width_px, m.header.height_px
        box = [i.box.x0, i.box.y0, i.box.x1, i.box.y1]
        if any(v * 256 != int(v * 256) for v in box) or not (0 <= box[0] < box[2] <= w and 0 <= box[1] < box[3] <= h):
            self.wrong(key, f"box: {box} in {w}x{h}")
        if not m.answer.score_threshold <= i.score <= 1:
            self.wrong(key, f"score: {i.score}")
        names = self.labels.get(m.label_map_id)
        if names is not None and i.class_id >= len(names):
            self.wrong(key, f"class: {i.class_id} of {len(names)}")
        kind = i.WhichOneof("mask")
        if form == self.pb.FORM_BOXES or kind is None:
            if kind is not None:
                self.wrong(key, f"mask: {kind} on boxes")
            if form == self.pb.FORM_BOXES:
                close = abs(i.centroid_x_px - (box[0] + box[2]) / 2) < 1e-3 and abs(i.contact_y_px - box[3]) < 1e-3
                if i.measured_from != self.pb.MEASURED_FROM_BOX or i.area_px or not close:
                    self.wrong(key, "measured: not from the box")
            return
        if kind != "rle":
            return self.wrong(key, f"mask: {kind} on result")
        r = i.rle
        if r.x_px + r.width_px > w or r.y_px + r.height_px > h or not r.width_px or not r.height_px:
            return self.wrong(key, f"crop: {r.x_px},{r.y_px} {r.width_px}x{r.height_px} in {w}x{h}")
        try:
            dense = coco.decode({"size": [r.height_px, r.width_px], "counts": bytes(r.counts)})
        except Exception as error:
            return self.wrong(key, f"rle: {error}")
        self.masks += 1
        area = int(dense.sum())
        if area != i.area_px or i.measured_from != self.pb.MEASURED_FROM_MASK:
            self.wrong(key, f"area: {area} set, {i.area_px} said")
        if not (dense[0].any() and dense[-1].any() and dense[:, 0].any() and dense[:, -1].any()):
            return self.wrong(key, "crop: not tight")
        ys, xs = np.nonzero(dense)
        low = np.nonzero(dense[-1])[0]
        borders = ((r.x_px == 0) | (r.y_px == 0) << 1 | (r.x_px + r.width_px == w) << 2 | (r.y_px + r.height_px == h) << 3)
        want = [r.x_px + xs.mean() + 0.5, r.y_px + ys.mean() + 0.5, r.x_px + (low[0] + low[-1] + 1) / 2, r.y_px + r.height_px]
        got = [i.centroid_x_px, i.centroid_y_px, i.contact_x_px, i.contact_y_px]
        if max(abs(a - b) for a, b in zip(want, got)) > 1e-2 or borders != i.borders:
            self.wrong(key, f"measured: {got} {i.borders} instead of {want} {borders}")


def unknown_fields(message):
    from google.protobuf import unknown_fields as module
    return list(module.UnknownFieldSet(message))


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--connect", default="tcp/127.0.0.1:7447")
    args.add_argument("--prefix", default="maskcast")
    args.add_argument("--seconds", type=float, default=10.0)
    args.add_argument("--min-results", type=int, default=1)
    args.add_argument("--strict-start", action="store_true", help="also check queries for info, labels, schema and health")
    args = args.parse_args()
    pb = compiled_schema()
    config = zenoh.Config()
    config.insert_json5("mode", '"client"')
    config.insert_json5("scouting/multicast/enabled", "false")
    config.insert_json5("connect/endpoints", f'["{args.connect}"]')
    checks, lock = Checks(pb, args.prefix), threading.Lock()
    waiting, done = collections.deque(), threading.Event()
    with zenoh.open(config) as session:
        for tail in (["cam/*/labels", "info", "health"] if args.strict_start else ["cam/*/labels"]):
            for reply in session.get(f"{args.prefix}/v1/{tail}", timeout=2.0):
                if reply.ok is None:
                    checks.wrong(tail, f"query: {reply.err.payload.to_bytes()!r}")
                elif tail.endswith("labels"):
                    checks.sample(reply.ok, 0)
                else:
                    message = {"info": pb.SystemInfo, "health": pb.Health}[tail]()
                    message.ParseFromString(reply.ok.payload.to_bytes())
        # One subscription a form: `**` would also work, but wakes every encoder.
        keys = ["health", "cam/*/status", "cam/*/labels", "cam/*/result", "cam/*/result/boxes"]
        hold = [session.declare_subscriber(f"{args.prefix}/v1/{tail}", lambda s: waiting.append((s, time.time_ns())))
                for tail in keys]
        end = time.monotonic() + args.seconds
        while time.monotonic() < end and not done.is_set():
            while waiting:
                with lock:
                    checks.sample(*waiting.popleft())
            time.sleep(0.01)
        for subscriber in hold:
            subscriber.undeclare()
        while waiting:
            checks.sample(*waiting.popleft())
    results = checks.count["result"] + checks.count["result/boxes"]
    if results < args.min_results:
        checks.wrong("summary", f"results: {results} came, at least {args.min_results} were expected")
    ms = sorted(checks.latencies_ms) or [float("nan")]
    print(f"messages {dict(checks.count)}, {checks.bytes} bytes of results, instances {checks.instances}, masks {checks.masks}, "
          f"tombstones {dict(checks.tombstones)}")
    print(f"capture to received: p50 {ms[len(ms) // 2]:.1f} ms, p95 {ms[int(len(ms) * 0.95)]:.1f} ms, "
          f"p99 {ms[int(len(ms) * 0.99)]:.1f} ms")
    print(f"labels {checks.labels}")
    if checks.violations:
        print(f"FAILED: {dict(checks.violations)}")
        return 1
    print("ok: every message holds")
    return 0


if __name__ == "__main__":
    sys.exit(main())
