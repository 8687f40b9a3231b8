"""A PyTorch Geometric `Data` that `torch.save` wrote: its tensors as the arrays of a graph.

Nothing is unpickled but tensors, plain containers and `Data` itself.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from rbm_training.data.dataset import Dataset
from rbm_training.data.graph import GraphError
from rbm_training.data.readers.arrays import NamedArrays
from rbm_training.data.readers.npz import dataset_of
from rbm_training.data.readers.split_column import SplitColumn
from rbm_training.data.readers.unreadable import unreadable

_WANTED: Final = "a torch_geometric.data.Data saved with torch.save, as torch.save(dataset[0], ...)"
_FIRST_BYTES: Final = (b"PK\x03\x04", b"\x80")
_MASKS: Final = ("train_mask", "val_mask", "test_mask")
_READ: Final = ("edge_index", "x", "y", "node_ids", "class_names", "edge_weight", "edge_attr")


def load_pyg(path: Path, name: str, split_column: SplitColumn | None = None) -> Dataset:
    """Read and check a graph: `edge_index`, `x`, `y`, and masks (N,), or (N, S) for S published splits.

    Raises:
        GraphError: the file holds something else, or one of its tensors is not what it should be.
    """
    given = _attributes(path)
    known = _READ if split_column is None else (*_READ, split_column.name)
    read = [key for key in given if key in known or "mask" in key]  # a mask that is misspelt is refused below
    arrays = {key: _array(path, key, given[key]) for key in read}
    for key in _MASKS:
        if key in arrays and arrays[key].ndim == 2:
            arrays[f"{key}s"] = arrays.pop(key).T
    unused = tuple(
        f"{path.name}: {key}: nothing reads it" for key in given if key not in (*read, "num_nodes")
    )
    return dataset_of(NamedArrays(str(path), arrays), name, split_column, unused)


def _attributes(path: Path) -> dict[str, Any]:
    """What a `Data` holds, or a table of the same keys."""
    if not path.is_file():
        raise GraphError(str(path), "no file", _WANTED)
    import torch  # they take seconds, of every run
    from torch_geometric.data import Data
    from torch_geometric.data.data import DataEdgeAttr, DataTensorAttr
    from torch_geometric.data.storage import GlobalStorage

    try:
        with torch.serialization.safe_globals([Data, DataEdgeAttr, DataTensorAttr, GlobalStorage]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the unit of work is this file; unpickling can fail in any way
        if foreign := re.search(r"GLOBAL (\S+)", str(error)):  # what its author's code would have to make
            raise GraphError(str(path), f"no file of tensors alone ({foreign[1]})", _WANTED) from error
        reason = re.split(r"\. |\n", str(error))[0]  # what follows is advice to who calls torch
        raise unreadable(path, "file of tensors", _WANTED, reason, own=_FIRST_BYTES) from error
    if isinstance(content, Data):
        content = content.to_dict()
    if isinstance(content, tuple | list) and content:
        raise GraphError(str(path), f"a {type(content).__name__} of {len(content)}", _WANTED)
    if not isinstance(content, Mapping):
        raise GraphError(str(path), f"a {type(content).__name__}", _WANTED)
    return {key: value for key, value in content.items() if value is not None}


def _array(path: Path, key: str, value: object) -> npt.NDArray[Any]:
    import torch

    if isinstance(value, torch.Tensor) and value.layout == torch.strided:
        return value.detach().float().numpy() if value.dtype == torch.bfloat16 else value.detach().numpy()
    if isinstance(value, list) and value and all(isinstance(it, str) for it in value):
        return np.array(value, np.str_)
    raise GraphError(
        str(path), f"{key} of type {type(value).__name__}", "a dense tensor, or a list of strings"
    )
