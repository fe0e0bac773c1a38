"""An interpreter that has torch: this one, the virtual environment's, or one made now."""
from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

from shape import Failure

NEEDED = ["numpy", "safetensors", "torch"]
# What pip calls modules that are not called as they are imported.
PACKAGES = {"skactiveml": "scikit-activeml", "PIL": "pillow"}
CPU_WHEELS = "https://download.pytorch.org/whl/cpu"


def enter(folder: Path, index: str, *more: str) -> None:
    """Returns where this interpreter has what is needed, the modules `more` too; otherwise runs the script again in
    one that has, and does not return."""
    if works(Path(sys.executable), more):
        return
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not (python.exists() and works(python, more)):
        install(folder, python, index, more)
    arguments = [str(python), *sys.argv]
    if os.name == "nt":
        sys.exit(subprocess.run(arguments).returncode)
    os.execv(python, arguments)


def works(python: Path, more: tuple[str, ...]) -> bool:
    """Asked of a process of its own: a broken torch can fail in more ways than an exception."""
    needed = "import " + ", ".join([*NEEDED, *more])
    return subprocess.run([python, "-c", needed], capture_output=True).returncode == 0


def install(folder: Path, python: Path, index: str, more: tuple[str, ...]) -> None:
    """Makes the environment and installs what is needed."""
    print(f"installing {', '.join([*NEEDED, *more])} into {folder}", file=sys.stderr)
    venv.create(folder, with_pip=True)
    pip(python, "numpy", "safetensors")
    where = [] if index == "default" else ["--index-url", index]
    try:
        pip(python, "torch", *where)
    except Failure as failure:
        hint = "--torch-index default takes pip's own index (on Linux CUDA too: several GB)"
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
