"""Hyper-parameters that the RbM paper's students were published with; the values are in `paper.toml`.

A comparison lays them under the methods that ask for them, on the data sets that have some. Teachers stay
those of the comparison, so that all students of a seed learn from one.
"""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any, Final

from rbm_bundle.manifest_parts import Setting
from rbm_training.config import ScalingConfig
from rbm_training.config.base import Overrides, merged

PUBLISHED_AS: Final = {
    "mlp": "mlp",
    "mlp-ensemble": "mlp",
    "moe": "moe",
    "moe-head": "moe",
    "rbm": "rbm",
    "rbm-head": "rbm",
}
"""The student of the paper that a kind of ours comes nearest."""
SCALE_OF_POSITIONS: Final = {"position_norm": ScalingConfig().position_norm}
"""The paper's are not scaled; that of a data set's own experiment was chosen for other positions."""
OF_MIXTURE: Final = ("num_experts", "top_k", "input_gains")


def paper_settings(dataset: str, setting: Setting, student: Overrides) -> dict[str, Any]:
    """What the paper has for a data set, in tables of an experiment; nothing where it has nothing.

    Args:
        student: the student's table of the method. An MLP of a mixture's costs is trained as the paper's MLP
            and measured by the paper's RbM.
    """
    found = _read_all().get(dataset)
    if found is None:
        return {}
    of_setting = found[setting]
    own = of_setting[PUBLISHED_AS[student["kind"]]]
    mixture = of_setting["rbm"]["student"] if "match_budget" in student else {}
    measured_by = {"student": {name: mixture[name] for name in OF_MIXTURE if name in mixture}}
    positions = {"kind": "deepwalk", **found["positions"]}
    return merged({"positions": positions, "scaling": SCALE_OF_POSITIONS}, own, measured_by)


@cache
def _read_all() -> Mapping[str, Any]:
    text = (files("rbm_training.benchmark") / "paper.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)
