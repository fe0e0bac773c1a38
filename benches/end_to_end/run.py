#!/usr/bin/env python3
"""From images to picks on the CPU and on a GPU, timed and compared, in one JSON file.

    python3 benches/end_to_end/run.py --binary target/release/equipoise \
        --images ../shared/data/cifar10/train.tar \
        --weights ../shared/weights/resnet20-cifar10-supervised.th --out end_to_end.json

Uses the product as a user would: `embed` on both devices, `fit` on 1,000 labels drawn at random,
`select` with every strategy on both devices over one store and head. Says whether the PICKS.csv
files are byte-identical, how far the two devices' embeddings lie apart, and how many picks change
with them, which needs numpy. Exits 1 where picks differ.
"""
import argparse
import collections
import csv
import importlib.util
import json
import pathlib
import subprocess
import sys
import time

STRATEGIES = ["base", "mase", "margin", "confidence", "entropy", "random"]


def run(binary, *arguments):
    """Runs one command; returns its JSON answer and the seconds it took."""
    started = time.perf_counter()
    done = subprocess.run([binary, *map(str, arguments), "--json", "--quiet"], capture_output=True, text=True)
    seconds = time.perf_counter() - started
    if done.returncode:
        sys.exit(f"{' '.join(map(str, arguments))}: exit {done.returncode}\n{done.stderr}")
    return json.loads(done.stdout), round(seconds, 3)


def embeddings(store):
    """All embeddings of a store, read as docs/formats.md shows."""
    import numpy

    shards = json.loads((store / "manifest.json").read_text())["shards"]
    parts = []
    for shard in shards:
        data = (store / shard["file"]).read_bytes()
        length = int.from_bytes(data[:8], "little")
        tensor = json.loads(data[8 : 8 + length])["embeddings"]
        begin, end = (8 + length + offset for offset in tensor["data_offsets"])
        dtype = {"F32": "<f4", "F16": "<f2"}[tensor["dtype"]]
        parts.append(numpy.frombuffer(data[begin:end], dtype).reshape(tensor["shape"]))
    return numpy.concatenate(parts).astype(numpy.float64)


def rows(picks):
    with open(picks, newline="") as file:
        return [int(pick["row"]) for pick in csv.DictReader(file)]


def class_counts(store, picks):
    with open(store / "labels.csv", newline="") as file:
        label = {line["id"]: line["label"] for line in csv.DictReader(file)}
    with open(picks, newline="") as file:
        counts = collections.Counter(label[pick["id"]] for pick in csv.DictReader(file))
    return {name: counts[name] for name in sorted(set(label.values()))}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--images", required=True)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--budget", type=int, default=1000)
    parser.add_argument("--work", default="end_to_end", help="folder for stores, heads and picks")
    parser.add_argument("--skip-gpu-embed", action="store_true", help="for software adapters, where a model takes hours")
    parser.add_argument("--out", required=True)
    options = parser.parse_args()
    if not options.skip_gpu_embed and importlib.util.find_spec("numpy") is None:
        # Now rather than after two runs of the model.
        parser.error("comparing embeddings needs numpy; --skip-gpu-embed does without")
    work = pathlib.Path(options.work)
    work.mkdir(parents=True, exist_ok=True)
    result = {"budget": options.budget, "seconds": {}, "answers": {}, "identical": {}, "classes": {}}

    def step(name, *arguments):
        answer, seconds = run(options.binary, *arguments)
        result["seconds"][name], result["answers"][name] = seconds, answer
        print(f"{name}: {seconds} s", file=sys.stderr)

    def embed(device):
        store = work / f"{device}.emb"
        step(f"embed {device}", "embed", "--images", options.images, "--model", options.model,
             "--weights", options.weights, "--out", store, "--device", device, "--force")
        return store

    step("devices", "devices")
    store = embed("cpu")
    first, head = work / "first.csv", work / "head.safetensors"
    step("select random 1000", "select", "--embeddings", store, "--strategy", "random",
         "--budget", 1000, "--out", first, "--force", "--device", "cpu")
    step("fit", "fit", "--embeddings", store, "--labels", store / "labels.csv", "--only", first,
         "--out", head, "--force", "--device", "cpu")

    def select(strategy, device, pool, out):
        step(f"select {strategy} {device} {pool.stem}", "select", "--embeddings", pool, "--head", head,
             "--strategy", strategy, "--budget", options.budget, "--labelled", first, "--seed", 1,
             "--out", out, "--device", device, "--force")

    for strategy in STRATEGIES:
        picks = {device: work / f"{strategy}-{device}.csv" for device in ("cpu", "gpu")}
        for device, out in picks.items():
            select(strategy, device, store, out)
        result["identical"][strategy] = picks["cpu"].read_bytes() == picks["gpu"].read_bytes()
        result["classes"][strategy] = class_counts(store, picks["cpu"])

    if not options.skip_gpu_embed:
        other = embed("gpu")
        a, b = embeddings(store), embeddings(other)
        moved = work / "base-gpu-embeddings.csv"
        select("base", "gpu", other, moved)
        both = set(rows(work / "base-cpu.csv")) & set(rows(moved))
        result["embeddings"] = {
            "largest_difference": float(abs(a - b).max()),
            "relative_to_largest": float(abs(a - b).max() / abs(a).max()),
            "same_base_picks": len(both),
        }
    pathlib.Path(options.out).write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({key: result[key] for key in ("seconds", "identical", "classes")}, indent=1))
    return 0 if all(result["identical"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
