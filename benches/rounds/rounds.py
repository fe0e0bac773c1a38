#!/usr/bin/env python3
"""Rounds of select and label on stored embeddings whose labels are all known: which strategy buys the most?

A labelled store plays the pool, cut to a long tail where asked. Each round `equipoise fit` makes a head of the labels so
far and `equipoise select` picks the next; accuracy is that of the last head on a balanced test store. Random rows come
first, the same for every strategy of a seed.
"""
from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

BINARY = Path(__file__).resolve().parents[2] / "target/release/equipoise"
EXAMPLE = """example (embeddings of CIFAR-10's training and test images):
  python3 benches/rounds/rounds.py --pool train.emb --test test.emb --imbalance 1,0.1,0.01 --json rounds.json
"""
# What is compared: names, and what `select` is told.
WAYS = {
    "random": ["--strategy", "random"],
    "margin": ["--strategy", "margin"],
    "coreset": ["--strategy", "coreset"],
    "badge": ["--strategy", "badge"],
    "balancing": ["--strategy", "balancing"],
    "base": ["--strategy", "base"],
    "mase": ["--strategy", "mase"],
    "base, balanced": ["--strategy", "base", "--quotas", "balance", "--class-order", "rarest-first"],
}


def store(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings and class numbers of a store made of class folders."""
    shards = sorted(folder.glob("*.safetensors"))
    rows = np.concatenate([load_file(shard)["embeddings"].astype(np.float32) for shard in shards])
    names: list[str] = []
    for lines in sorted(folder.glob("rows-*.csv")):
        with open(lines, newline="") as file:
            names += [line["label"] for line in csv.DictReader(file)]
    known = {name: number for number, name in enumerate(sorted(set(names)))}
    return rows, np.array([known[name] for name in names])


def long_tail(labels: np.ndarray, factor: float, seed: int) -> np.ndarray:
    """Rows of a pool in which class c of C keeps factor^(c/(C-1)) of its rows."""
    stream = np.random.default_rng([seed, 7])
    classes = labels.max() + 1
    kept = []
    for c in range(classes):
        rows = np.flatnonzero(labels == c)
        share = factor ** (c / (classes - 1))
        kept.append(stream.permutation(rows)[: max(1, round(len(rows) * share))])
    return np.sort(np.concatenate(kept))


def call(binary: Path, *arguments: str) -> None:
    done = subprocess.run([binary, *arguments], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"rounds.py: {' '.join(arguments)}: {done.stderr.strip()}")


def evenness(labels: np.ndarray, classes: int) -> float:
    share = np.bincount(labels, minlength=classes) / len(labels)
    share = share[share > 0]
    return float(-(share * np.log(share)).sum() / np.log(classes))


def run(options: argparse.Namespace, factor: float, seed: int, ways: list[str], folder: Path) -> list[dict]:
    """One pool and seed: every one of `ways` from the same first rows."""
    rows, labels = store(options.pool)
    test, truth = store(options.test)
    kept = long_tail(labels, factor, seed)
    rows, labels = rows[kept], labels[kept]
    classes = int(labels.max()) + 1
    pool = folder / "pool.npy"
    np.save(pool, rows)
    first = np.random.default_rng([seed, 8]).permutation(len(rows))[: options.first]
    (folder / "classes.txt").write_text("".join(f"{c}\n" for c in range(classes)))
    done = []
    for name in ways:
        labelled = first.tolist()
        for round_ in range(options.rounds + 1):
            listed, head = folder / "labels.csv", folder / "head.safetensors"
            listed.write_text("row,label\n" + "".join(f"{row},{labels[row]}\n" for row in labelled))
            call(options.binary, "fit", "--embeddings", str(pool), "--labels", str(listed), "--classes",
                 str(folder / "classes.txt"), "--out", str(head), "--force", "--quiet")  # fmt: skip
            if round_ == options.rounds:
                break
            picks = folder / "picks.csv"
            call(options.binary, "select", "--embeddings", str(pool), "--head", str(head), "--labelled", str(listed),
                 "--budget", str(options.budget), "--seed", str(seed), "--device", "cpu", *WAYS[name],
                 "--out", str(picks), "--force", "--quiet")  # fmt: skip
            with open(picks, newline="") as file:
                labelled += [int(pick["row"]) for pick in csv.DictReader(file)]
        weights = load_file(head)
        logits = test @ weights["weight"].T + weights["bias"]
        accuracy = float((logits.argmax(axis=1) == truth).mean())
        balance = evenness(labels[labelled], classes)
        done.append({"way": name, "imbalance": factor, "seed": seed, "accuracy": accuracy, "balance": balance})
        print(f"imbalance {factor:g}, seed {seed}, {name}: {accuracy:.3f}, balance {balance:.3f}", file=sys.stderr)
    return done


def main() -> None:
    form = argparse.RawDescriptionHelpFormatter
    it = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLE, formatter_class=form, allow_abbrev=False)
    it.add_argument("--pool", type=Path, required=True, help="a store embedded from class folders")
    it.add_argument("--test", type=Path, required=True, help="another, for accuracy")
    it.add_argument("--imbalance", default="1,0.1,0.01", help="share of rows that the rarest class keeps (default: %(default)s)")
    it.add_argument("--seeds", type=int, default=5, help="default: 5")
    it.add_argument("--first", type=int, default=200, help="rows labelled at random at first (default: 200)")
    it.add_argument("--budget", type=int, default=200, help="rows a round (default: 200)")
    it.add_argument("--rounds", type=int, default=7, help="default: 7")
    it.add_argument("--binary", type=Path, default=BINARY, help="default: %(default)s")
    it.add_argument("--json", type=Path, help="write every run there; those it holds are not run again")
    options = it.parse_args()
    done = json.loads(options.json.read_text()) if options.json and options.json.exists() else []
    ran = {(each["way"], each["imbalance"], each["seed"]) for each in done}
    for factor in map(float, options.imbalance.split(",")):
        for seed in range(options.seeds):
            ways = [name for name in WAYS if (name, factor, seed) not in ran]
            if not ways:
                continue
            with tempfile.TemporaryDirectory(prefix="rounds-") as folder:
                done += run(options, factor, seed, ways, Path(folder))
            if options.json:
                options.json.write_text(json.dumps(done, indent=1) + "\n")
    labels = options.first + options.rounds * options.budget
    print(f"{labels} labels, mean and standard error over {options.seeds} seeds\n")
    print(f"{'imbalance':>9}  {'way':<16} {'accuracy':>14}  {'balance':>7}")
    for factor in map(float, options.imbalance.split(",")):
        for name in WAYS:
            of = [each for each in done if (each["way"], each["imbalance"]) == (name, factor) and each["seed"] < options.seeds]
            accuracy = np.array([each["accuracy"] for each in of]) * 100
            error = accuracy.std(ddof=1) / len(of) ** 0.5 if len(of) > 1 else float("nan")
            balance = np.mean([each["balance"] for each in of])
            print(f"{factor:>9g}  {name:<16} {accuracy.mean():>6.1f}% ± {error:>4.1f}  {balance:>7.3f}")


if __name__ == "__main__":
    main()
