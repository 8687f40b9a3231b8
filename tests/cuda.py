"""Whether there is a GPU, asked of the driver and not of what is under test."""

import ctypes

import onnxruntime


def why_no_cuda() -> str | None:
    """The reason that CUDA cannot be used here, or None."""
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        return "the installed onnxruntime is built without CUDA (the extra `gpu` instead of `cpu` has it)"
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return "there is no NVIDIA driver (libcuda.so.1)"
    num_gpus = ctypes.c_int(0)
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(num_gpus)) or not num_gpus.value:
        return "the NVIDIA driver finds no GPU"
    return None
