"""The machine a run uses, and what is written down about it."""

import os
import platform
import random
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Final

import numpy as np
import torch
from threadpoolctl import threadpool_limits

RECORDED_PACKAGES: Final = (
    "numpy",
    "scipy",
    "scikit-learn",
    "gensim",
    "torch",
    "torch-geometric",
    "onnx",
)


def seed_everything(seed: int, num_threads: int) -> None:
    """Make a run repeat to the last bit on one machine's CPU; on CUDA, as far as its kernels go."""
    random.seed(seed)
    np.random.seed(seed)  # some libraries draw from the global generator
    torch.manual_seed(seed)
    torch.set_num_threads(num_threads)
    threadpool_limits(num_threads)  # of NumPy and SciPy too, whose sums depend on it alike
    # cuBLAS reads this when its first handle is made; without it deterministic algorithms are refused.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=pick_device().type == "cuda")


def pick_device() -> torch.device:
    """CUDA when there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def describe_environment() -> dict[str, str]:
    """Library versions, Python, device and precision of this run."""
    found = {package: version(package) for package in RECORDED_PACKAGES}
    made_with = {"device": str(pick_device()), "precision": str(torch.get_default_dtype())}
    return {"python": platform.python_version(), **made_with, **found}


def git_commit() -> str | None:
    """Commit of the code that runs, with `-dirty` for uncommitted changes; None where it is no checkout, as
    an installed package is, be it inside a repository of somebody else's."""
    file = Path(__file__)
    try:
        _git(file.parent, "ls-files", "--error-unmatch", file.name)
        return _git(file.parent, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()
