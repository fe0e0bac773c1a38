"""An interpreter that has torch: this one, the virtual environment's, or one made now."""
from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from argparse import ArgumentParser
from pathlib import Path

from shape import Failure

NEEDED = ["numpy", "safetensors", "torch"]
# What pip calls modules that are not called as they are imported.
PACKAGES = {"skactiveml": "scikit-activeml", "PIL": "pillow"}
CPU_WHEELS = "https://download.pytorch.org/whl/cpu"
# pip's own index: on Linux its torch is built with CUDA.
DEFAULT = "default"


def add_options(it: ArgumentParser) -> None:
    """What `enter` is told."""
    it.add_argument("--venv", type=Path, default=Path(__file__).with_name(".venv"), metavar="DIR",
        help="made, if this python3 lacks what is needed (default: %(default)s)")  # fmt: skip
    it.add_argument("--torch-index", metavar="URL", help="where pip finds torch; `default` for pip's own index (default: "
        f"pip's own where nvidia-smi lists a GPU or CUDA is asked for, else {CPU_WHEELS})")  # fmt: skip


def enter(folder: Path, index: str | None, *more: str, cuda: bool = False) -> None:
    """Returns where this interpreter has what is needed, the modules `more` and a torch built with CUDA too, where
    that is needed; otherwise runs the script again in one that has, and does not return."""
    here = Path(sys.executable)
    if works(here, more) and not (cuda and cpu_only(here)):
        return
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not (python.exists() and works(python, more)):
        install(folder, python, index or choose_index(cuda), more)
    if cuda and cpu_only(python):
        raise Failure(f"the PyTorch in {folder} is built without CUDA; hint: delete {folder} and run this again (on Windows "
            "with --torch-index and PyTorch's CUDA wheels), or leave the GPU out")  # fmt: skip
    arguments = [str(python), *sys.argv]
    if os.name == "nt":
        sys.exit(subprocess.run(arguments).returncode)
    os.execv(python, arguments)


def nvidia() -> bool:
    """Whether nvidia-smi is here and lists a GPU."""
    tool = shutil.which("nvidia-smi")
    return tool is not None and subprocess.run([tool, "-L"], capture_output=True).returncode == 0


def choose_index(cuda: bool) -> str:
    """Where pip finds torch, unless it is told."""
    return DEFAULT if cuda or nvidia() else CPU_WHEELS


def limit_threads(count: int | None) -> None:
    """For libraries loaded after this, here and in processes started from here; without a number they do as they like."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS") if count else ():
        os.environ[name] = str(count)


def works(python: Path, more: tuple[str, ...]) -> bool:
    """Asked of a process of its own: a broken torch can fail in more ways than an exception."""
    needed = "import " + ", ".join([*NEEDED, *more])
    return subprocess.run([python, "-c", needed], capture_output=True).returncode == 0


def cpu_only(python: Path) -> bool:
    """Whether its torch is built without CUDA."""
    asked = "import sys, torch; sys.exit(not torch.backends.cuda.is_built())"
    return subprocess.run([python, "-c", asked], capture_output=True).returncode != 0


def install(folder: Path, python: Path, index: str, more: tuple[str, ...]) -> None:
    """Makes the environment and installs what is needed."""
    source = "pip's own index" if index == DEFAULT else index
    print(f"installing {', '.join([*NEEDED, *more])} into {folder}, torch from {source}", file=sys.stderr)
    venv.create(folder, with_pip=True)
    pip(python, "numpy", "safetensors")
    where = [] if index == DEFAULT else ["--index-url", index]
    try:
        pip(python, "torch", *where)
    except Failure as failure:
        hint = "--torch-index default takes pip's own index (on Linux CUDA too: several GB)"
        if index == DEFAULT:
            hint = f"--torch-index {CPU_WHEELS} takes one without CUDA"
        raise Failure(f"{failure}; {hint}, or run this with a python3 that has torch") from None
    if more:
        pip(python, *(PACKAGES.get(name, name) for name in more))
    if not works(python, more):
        raise Failure(f"what was installed into {folder} cannot be imported: remove it and try again")


def pip(python: Path, *arguments: str) -> None:
    done = subprocess.run([python, "-m", "pip", "install", "--quiet", *arguments], capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["it said nothing"]
        raise Failure(f"pip install {arguments[0]}: {said[-1]}")
