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
    """Commit of the working directory, with `-dirty` for uncommitted changes; None outside git."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=Path.cwd(),
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return described.stdout.strip()
