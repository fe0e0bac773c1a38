#!/usr/bin/env python3
"""From JPEGs to embeddings: Equipoise beside torchvision on Pillow, on the same files and the same weights.

Makes JPEGs of noise and edges and random weights, or takes a folder of yours. Two contests: decoding and making images
ready alone (cargo's example `preprocess` of equipoise-pool beside Pillow and numpy), and whole runs (`equipoise embed`
beside a DataLoader, torchvision's model and its transforms). Exits 1 where embeddings differ by more than 1e-3 of the
largest value plus what the JPEG decoders' pixels make, 2e-2.
"""
from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import environment
from peers import BINARY, Parser, at_least, listed
from shape import Failure

EXAMPLES = """examples:
  cargo build --release -p equipoise-cli && cargo build --release -p equipoise-pool --example preprocess
  python3 benches/peers/images.py --json images.json
  python3 benches/peers/images.py --images photos/ --models resnet50 --device gpu
"""
MODELS = ["resnet18", "resnet50"]
# Embeddings of decoders that differ by up to three steps of a pixel, of the largest value.
TOLERANCE = 2e-2


def parser() -> Parser:
    """The command line."""
    form = argparse.RawDescriptionHelpFormatter
    it = Parser(description=__doc__, epilog=EXAMPLES, formatter_class=form, allow_abbrev=False)
    add = it.add_argument
    add("--images", type=Path, metavar="DIR", help="a flat folder of JPEGs (default: 256 of 500x375, made)")
    add("--models", type=listed(*MODELS), default=MODELS, metavar="NAMES", help="which of resnet18,resnet50 (default: both)")
    add("--repeats", type=at_least(1), default=3, metavar="N", help="runs of each, in turn (default: 3)")
    add("--workers", type=at_least(1), default=2, metavar="N", help="of the DataLoader (default: 2)")
    add("--device", default="cpu", metavar="DEVICE", help="Equipoise's; PyTorch takes CUDA where it is not cpu (default: cpu)")
    add("--binary", type=Path, default=BINARY, metavar="FILE", help="default: %(default)s")
    add("--json", type=Path, metavar="FILE", help="write everything there")
    environment.add_options(it)
    return it


def make_images(folder: Path, count: int = 256) -> None:
    import numpy as np
    from PIL import Image

    stream = np.random.default_rng(0)
    folder.mkdir()
    for number in range(count):
        coarse = stream.integers(0, 255, (47, 63, 3), dtype=np.uint8)
        smooth = np.asarray(Image.fromarray(coarse).resize((500, 375), Image.BICUBIC)).astype(int)
        noisy = smooth + stream.integers(-12, 12, smooth.shape)
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{number:05}.jpg", quality=90)


def run(command: list) -> dict:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        raise Failure(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def preprocessing(folder: Path, options: argparse.Namespace) -> list[dict]:
    """Images a second, decoded and made ready, of files that are in memory."""
    from torchvision import transforms
    from PIL import Image

    encoded = [path.read_bytes() for path in sorted(folder.iterdir())]
    normal = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    ready = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(), normal])
    example = options.binary.parent / "examples" / "preprocess"
    ours, theirs = [], []
    for _ in range(options.repeats):
        ours.append(run([example, folder]))
        start = time.perf_counter()
        for image in encoded:
            ready(Image.open(io.BytesIO(image)).convert("RGB"))
        theirs.append(len(encoded) / (time.perf_counter() - start))
    one = median(each["one_thread"] for each in ours)
    every = median(each["all_threads"] for each in ours)
    return [
        {"what": "Equipoise, one thread", "images_per_second": one},
        {"what": f"Equipoise, {ours[0]['threads']} threads", "images_per_second": every},
        {"what": "Pillow and torchvision, one process", "images_per_second": median(theirs)},
    ]


def embedding(folder: Path, model: str, options: argparse.Namespace, scratch: Path) -> list[dict]:
    """Images a second of whole runs, loading and start included."""
    import numpy as np
    import torch
    import torchvision
    from PIL import Image
    from safetensors.numpy import load_file

    place = "cpu" if options.device == "cpu" or not torch.cuda.is_available() else "cuda"
    network = getattr(torchvision.models, model)()
    weights = scratch / f"{model}.pth"
    torch.save(network.state_dict(), weights)
    network.fc = torch.nn.Identity()
    network = network.eval().to(place)
    normal = torchvision.transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    ready = torchvision.transforms.Compose([
        torchvision.transforms.Resize(256), torchvision.transforms.CenterCrop(224), torchvision.transforms.ToTensor(), normal,
    ])  # fmt: skip
    paths = sorted(folder.iterdir())

    class Images(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(paths)

        def __getitem__(self, index: int) -> torch.Tensor:
            return ready(Image.open(paths[index]).convert("RGB"))

    store = scratch / f"{model}.emb"
    ours, theirs = [], []
    for _ in range(options.repeats):
        ours.append(run([options.binary, "embed", "--images", folder, "--model", model, "--weights", weights, "--out", store,
                         "--device", options.device, "--force", "--quiet", "--json"]))  # fmt: skip
        start = time.perf_counter()
        loader = torch.utils.data.DataLoader(Images(), batch_size=32, num_workers=options.workers)
        with torch.inference_mode():
            found = torch.cat([network(batch.to(place)).cpu() for batch in loader]).numpy()
        theirs.append(len(paths) / (time.perf_counter() - start))
    rows = np.concatenate([load_file(shard)["embeddings"] for shard in sorted(store.glob("*.safetensors"))])
    difference = float(np.abs(rows - found).max() / np.abs(found).max())
    if difference > TOLERANCE:
        raise Failure(f"{model}: embeddings differ by {difference:.3g} of the largest value")
    own = {name: median(each["spent"][name] for each in ours) for name in ours[0]["spent"]}
    return [
        {"what": f"Equipoise, {model}", "images_per_second": median(each["images_per_second"] for each in ours),
         "seconds": own, "difference": difference},
        {"what": f"PyTorch, {model}", "images_per_second": median(theirs)},
    ]  # fmt: skip


def main() -> int:
    """Exit status."""
    options = parser().parse_args()
    try:
        cuda = options.device != "cpu" and environment.nvidia()
        environment.enter(options.venv, options.torch_index, "torchvision", "PIL", cuda=cuda)
        import outcome

        with tempfile.TemporaryDirectory(prefix="images-") as folder:
            scratch = Path(folder)
            images = options.images or scratch / "images"
            if not options.images:
                make_images(images)
            lines = preprocessing(images, options)
            for model in options.models:
                lines += embedding(images, model, options, scratch)
        for each in lines:
            extra = f"  largest difference {each['difference']:.1e}" if "difference" in each else ""
            print(f"{each['what']:<38} {each['images_per_second']:>8.1f} images/s{extra}")
        if options.json:
            document = {"machine": outcome.machine(options.binary, None), "lines": lines}
            options.json.write_text(json.dumps(document, indent=1, default=str) + "\n")
    except (Failure, OSError, MemoryError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
