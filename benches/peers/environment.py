"""An interpreter that has torch: this one, the virtual environment's, or one made now."""
from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

from shape import Failure

NEEDED = "import numpy, safetensors, torch"
CPU_WHEELS = "https://download.pytorch.org/whl/cpu"


def enter(folder: Path, index: str) -> None:
    """Returns where this interpreter has what is needed; otherwise runs the script again in one
    that has, and does not return."""
    if works(Path(sys.executable)):
        return
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not (python.exists() and works(python)):
        install(folder, python, index)
    arguments = [str(python), *sys.argv]
    if os.name == "nt":
        sys.exit(subprocess.run(arguments).returncode)
    os.execv(python, arguments)


def works(python: Path) -> bool:
    """Asked of a process of its own: a broken torch can fail in more ways than an exception."""
    return subprocess.run([python, "-c", NEEDED], capture_output=True).returncode == 0


def install(folder: Path, python: Path, index: str) -> None:
    """Makes the environment and installs what is needed."""
    print(f"installing torch, numpy and safetensors into {folder}", file=sys.stderr)
    venv.create(folder, with_pip=True)
    pip(python, "numpy", "safetensors")
    where = [] if index == "default" else ["--index-url", index]
    try:
        pip(python, "torch", *where)
    except Failure as failure:
        hint = "--torch-index default takes pip's own index (on Linux CUDA too: several GB)"
        raise Failure(f"{failure}; {hint}, or run this with a python3 that has torch") from None
    if not works(python):
        raise Failure(f"`{NEEDED}` still fails in {folder}: remove it and try again")


def pip(python: Path, *arguments: str) -> None:
    done = subprocess.run([python, "-m", "pip", "install", "--quiet", *arguments], capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["it said nothing"]
        raise Failure(f"pip install {arguments[0]}: {said[-1]}")
