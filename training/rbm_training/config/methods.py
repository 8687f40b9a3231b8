"""The family of students that learn from a GNN, each as what it changes in an experiment.

GLNN (Zhang et al., ICLR 2022), KRD (Wu et al., ICML 2023), NOSMOG (Tian et al., ICLR 2023) and RbM
(Rumiantsev & Coates, TMLR 2024) as docs/method.md describes them. The `mlp` methods have RbM's own inputs,
teacher and pairs, so that they differ from it in the mixture alone: `mlp-flops` and `mlp-wide` cost what
`rbm` costs, with experts in all layers, and `mlp-flops-head` what `rbm-head` costs. The `released` ones train
as the paper's released code does. What an experiment says of the routes of several layers is left out by
mixtures that have none.
"""

from collections.abc import Mapping
from typing import Final

from rbm_training.config.base import Overrides, merged
from rbm_training.config.experiment import ExperimentConfig
from rbm_training.config.loading import validated

_PLAIN_MLP: Final = {"kind": "mlp", "input_dropout": False}
_LAST_LAYER_ALONE: Final = {"routing_input": "all", "shared_routing": False}
_NO_POSITIONS: Final = {"kind": "none", "label_propagation": False}

METHODS: Final[Mapping[str, Overrides]] = {
    "glnn": {"student": _PLAIN_MLP, "positions": _NO_POSITIONS, "distill": {"pairs": "self"}},
    "krd": {"student": _PLAIN_MLP, "positions": _NO_POSITIONS, "distill": {"pairs": "reliable"}},
    "nosmog": {"student": _PLAIN_MLP, "distill": {"pairs": "self", "gram": 1.0, "adversarial": 0.1}},
    "mlp": {"student": {"kind": "mlp"}},
    "mlp-ensemble": {"student": {"kind": "mlp-ensemble"}},
    "mlp-flops-head": {
        "student": {"kind": "mlp", "match_budget": "flops", "match_kind": "rbm-head", **_LAST_LAYER_ALONE}
    },
    "mlp-flops": {"student": {"kind": "mlp", "match_budget": "flops", "match_kind": "rbm"}},
    "mlp-wide": {"student": {"kind": "mlp", "match_budget": "parameters", "match_kind": "rbm"}},
    "moe-head": {"student": {"kind": "moe-head", "moe_layers": "last", "shared_routing": False}},
    "moe": {"student": {"kind": "moe", "moe_layers": "all", "shared_routing": False}},
    "rbm-head": {"student": {"kind": "rbm-head", "moe_layers": "last", **_LAST_LAYER_ALONE}},
    "rbm": {"student": {"kind": "rbm", "moe_layers": "all"}},
    "released-mlp": {"compat": "released", "student": {"kind": "mlp"}},
    "released-rbm": {"compat": "released", "student": {"kind": "rbm", "moe_layers": "all"}},
}


def baseline_experiments(config: ExperimentConfig) -> dict[str, ExperimentConfig]:
    """The experiment of each baseline; the released code's ways are the student's alone.

    Raises:
        ConfigError: one that cannot be, such as KRD from saved logits.
    """
    own = merged(config.model_dump(), {"compat": None})
    return {
        name: validated(ExperimentConfig, merged(own, METHODS[name]), f"report.baselines = {name!r}")
        for name in config.report.baselines
    }
