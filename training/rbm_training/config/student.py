"""What is trained to do without the graph."""

import warnings
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AfterValidator, Field, model_validator

from rbm_bundle.manifest_parts import HEAD_OF
from rbm_training.config.base import Count, FrozenConfig, Probability, Renamed, Weight, inverse
from rbm_training.config.registry import AUTO, STUDENTS

_OF_MEMORIES = ("rbm", "rbm-head", AUTO)
_READ_BY = {"metric": _OF_MEMORIES, "routing_input": _OF_MEMORIES, "shared_routing": _OF_MEMORIES}
WHOLE_OF: Final = {head: whole for whole, head in HEAD_OF.items()}

Layers = Literal["last", "all"]
Mixture = Literal["rbm", "rbm-head", "moe", "moe-head"]


class StudentConfig(FrozenConfig):
    """The student: L layers of E linear experts, K of which see a row."""

    old_names: ClassVar = {
        "experts_per_row": Renamed("top_k"),
        "expert_layers": Renamed("moe_layers"),
        "equal_cost": Renamed("match_budget"),
        "sharpness": Renamed("routing_temperature", inverse),
    }

    kind: Annotated[str, AfterValidator(STUDENTS.known)] = "rbm-head"
    """`rbm`: experts in every layer, routed by a memory; `moe`: the same, routed by a learnt router;
    `rbm-head`, `moe-head`: experts in the last layer alone, and what is said of `rbm` and `moe` below holds
    for them too; `mlp`: one expert a layer; `mlp-ensemble`: several MLPs, their logits averaged; `linear`:
    logistic regression on the features, which learns from labels alone; `auto`, the default with
    `dataset.kind = "files"`: `rbm-head`, `mlp`, `linear` and what plugins register, of which the best on
    validation is kept."""
    num_layers: Count = 2
    """L, layers."""
    hidden: Count = 128
    """Width of the hidden layers."""
    num_experts: Count | tuple[Count, ...] = 4
    """E, experts of each layer; or a list, one number a layer. A layer of one expert is a plain linear
    one."""
    moe_layers: Layers | None = None
    """Which layers have experts, where `num_experts` is one number; the others are plain linear ones. Unset:
    as the kind says, and of a plugin's kind the last."""
    top_k: Count = 2
    """K, experts that a row is sent to; in layers of fewer, all of them."""
    dropout: Probability = 0.3
    """Before every layer."""
    input_dropout: bool = True
    """Before the first layer too."""
    expert_dropout: bool = False
    """One dropout mask a row for each expert that it is sent to, instead of one for all of them."""
    input_gains: bool = False
    """Kind `rbm`: learn a gain per expert and input column."""
    metric: Literal["cosine", "euclidean"] = "cosine"
    """Kind `rbm`: how rows are compared with memories."""
    center_queries: bool = False
    """Kind `rbm`: subtract the mean row of the layer before the cosine is taken, since rows that went through
    ReLU have cosines near each other."""
    routing_temperature: Annotated[float, Field(gt=0)] = 1.0
    """Kind `rbm`: what similarities are divided by before the softmax over the chosen experts."""
    routing_input: Literal["all", "features", "positions", "projection"] = "all"
    """Kind `rbm`: what the first layer is routed by, if it has experts; `projection` is a random one of all
    its columns, `routing_projection` wide."""
    routing_projection: Count = 16
    """Kind `rbm`: R, the width of that projection."""
    shared_routing: bool = False
    """Kind `rbm`, with as many experts in each layer: the first layer alone has a memory and routes, and a
    row stays with the experts chosen there, and with their weights, in all others."""
    router_top_k: Literal["k", "k_plus_1"] = "k"
    """Kind `moe`: `k_plus_1` uses one expert more than asked for, weighted by a softmax over all experts, as
    the paper's released code does."""
    num_members: Count = 4
    """Kind `mlp-ensemble`: MLPs."""
    match_budget: Literal["none", "flops", "parameters"] = "none"
    """Kind `mlp`: choose the width of the hidden layers so that the MLP costs as much as the mixture that
    `match_kind` and the other fields describe."""
    match_kind: Mixture = "rbm-head"
    """The mixture whose costs `match_budget` goes by."""
    max_flops: Count | None = None
    """The most floating-point operations to classify one node, of sparse features those that are not zero:
    hidden layers are as wide as that allows, up to 1,024, whatever `hidden` says. With `kind = "auto"` two
    students `rbm` of 8 and of 32 experts, with `shared_routing`, `routing_input = "positions"` and
    `top_k = 1`, then stand in the place of `rbm-head`, if there are positions; students that are too dear at
    any width are left out."""

    @model_validator(mode="after")
    def _experts_fit(self) -> "StudentConfig":
        if isinstance(self.num_experts, tuple) and len(self.num_experts) != self.num_layers:
            raise ValueError(
                f"found {len(self.num_experts)} numbers in student.num_experts for student.num_layers ="
                f" {self.num_layers}; wanted one number a layer"
            )
        experts = (self.num_experts,) if isinstance(self.num_experts, int) else self.num_experts
        largest = max(experts)
        if self.top_k > largest:
            raise ValueError(
                f"found student.top_k = {self.top_k} and no layer of more than {largest}"
                " experts; wanted student.top_k of at most student.num_experts"
            )
        if self.match_budget != "none" and self.num_layers == 1:
            raise ValueError("found student.match_budget with student.num_layers = 1; wanted a hidden layer")
        if self.match_budget != "none" and self.max_flops is not None:
            raise ValueError("found student.match_budget with student.max_flops; wanted one budget")
        return self

    @model_validator(mode="after")
    def _centers_directions(self) -> "StudentConfig":
        if self.reads("metric") and self.center_queries and self.metric == "euclidean":
            raise ValueError(
                "found student.center_queries with student.metric = 'euclidean', whose distances are the same"
                " wherever the origin lies; wanted student.metric = 'cosine'"
            )
        return self

    @model_validator(mode="after")
    def _first_layer_routes(self) -> "StudentConfig":
        routes = self.reads("routing_input") and self.routing_input != "all"
        if routes and self.experts_by_layer(self.num_layers)[0] == 1:
            raise ValueError(
                f"found student.routing_input = {self.routing_input!r} for a first layer of one expert, which"
                " is not routed; wanted several experts there, as with student.kind = 'rbm' and one number in"
                " student.num_experts"
            )
        return self

    @classmethod
    def completed(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Of a mixture the kind and the layers that have experts go together: layers that are named rename
        the kind, as files of the release before have them, and else the kind names the layers."""
        kind, layers = given.get("kind", cls.model_fields["kind"].default), _layers_named(given)
        if kind == "mlp" and given.get("moe_layers") == "all":
            return {"match_kind": "rbm", **given}
        if kind not in (*HEAD_OF, *WHOLE_OF):
            return given
        if "kind" in given and kind in WHOLE_OF and given.get("moe_layers") == "all" == layers:
            raise ValueError(
                f"found student.kind = {kind!r} with student.moe_layers = 'all'; wanted student.kind ="
                f" {WHOLE_OF[kind]!r}"
            )
        if layers is None and kind in HEAD_OF:
            _warn_of_all_layers(kind)
        return {**given, **_named_by_layers(kind, layers)}

    def of_kind(self, kind: str) -> "StudentConfig":
        """The same student of another kind, the layers of its experts kept where they are named."""
        is_mixture = kind in (*HEAD_OF, *WHOLE_OF)
        named = _named_by_layers(kind, self.moe_layers) if is_mixture else {"kind": kind}
        return self.model_copy(update=named)

    @model_validator(mode="after")
    def _layers_can_share(self) -> "StudentConfig":
        if not self.shared_routing:
            return self
        field, mixture = "kind", self
        if self.kind == "mlp" and self.match_budget != "none":
            matched = {"kind": self.match_kind, "moe_layers": None}
            field, mixture = "match_kind", self.model_copy(update=matched)
        if mixture.kind in ("moe", "moe-head"):
            raise ValueError(
                f"found student.shared_routing with student.{field} = {mixture.kind!r}, whose layers learn"
                f" routers of their own; wanted student.{field} = 'rbm'"
            )
        experts = mixture.experts_by_layer(self.num_layers)
        if mixture.reads("shared_routing") and len(set(experts)) > 1:
            raise ValueError(
                f"found student.shared_routing with layers of {', '.join(map(str, experts))} experts; wanted"
                f" as many in each layer, as with student.{field} = 'rbm' and one number in"
                " student.num_experts"
            )
        return self

    def reads(self, field: str) -> bool:
        """Whether the kind reads a field of memories; another student of the same file may."""
        return self.kind in _READ_BY[field]

    def experts_by_layer(self, num_layers: int) -> tuple[int, ...]:
        """E of each layer, in a student of experts."""
        if isinstance(self.num_experts, tuple):
            return self.num_experts
        if (self.moe_layers or _layers_of(self.kind)) == "last":
            return (*(1,) * (num_layers - 1), self.num_experts)
        return (self.num_experts,) * num_layers


def _layers_of(kind: str) -> Layers:
    return "all" if kind in HEAD_OF else "last"


def _named_by_layers(kind: str, named: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever the file says
    """Return the kind and the layers of a mixture, those that are named if any are."""
    layers = named or _layers_of(kind)
    kinds = HEAD_OF if layers == "last" else WHOLE_OF
    return {"kind": kinds.get(kind, kind), "moe_layers": layers}


def _layers_named(given: dict[str, Any]) -> Any:  # noqa: ANN401 - whatever the file says
    """Which layers have experts by a list in `num_experts`, else by `moe_layers`, else None."""
    experts = given.get("num_experts")
    if isinstance(experts, list | tuple) and len(experts) > 1:
        return "last" if all(number == 1 for number in experts[:-1]) else "all"
    return given.get("moe_layers")


def _warn_of_all_layers(kind: str) -> None:
    warnings.warn(
        f"student.kind = {kind!r} has experts in all layers now, and student.kind = {HEAD_OF[kind]!r} in the"
        " last one alone, as it meant before; student.moe_layers = 'all' says that all are meant",
        FutureWarning,
        2,
    )


class RoutingConfig(FrozenConfig):
    """What shapes the routing."""

    old_names: ClassVar = {
        "memory_start": Renamed("memory_init"),
        "momentum": Renamed("ema_decay"),
        "revive_after": Renamed("reinit_dead_after"),
    }

    memory_init: Literal["kmeans", "spherical", "random"] = "kmeans"
    """Kind `rbm`: where memories start, among the inputs of their layer: centres of K-means, centres of
    spherical K-means, or inputs drawn at random."""
    commitment: Weight = 0.05
    """Kind `rbm`: weight of the pull of inputs towards the memories they are routed to."""
    self_similarity: Weight = 0.01
    """Kind `rbm`: size of the push of memories away from each other, once a step."""
    clone_noise: Weight = 0.0
    """Deviation of the noise that tells clones apart when routing starts, relative to the root mean square of
    the first expert's weights, which stay as they are."""
    load_balance: Weight = 0.01
    """Weight of the squared variation of the load over experts."""
    ema_decay: Annotated[float, Field(ge=0, le=1)] = 0.9
    """Kind `rbm`: γ, the part of the old memory that a step keeps; 1 freezes the memory."""
    memory_step: Literal["epoch", "optimizer_step"] = "epoch"
    """Kind `rbm`, with `distill.step_after = "batch"`: whether memories move once an epoch, by all of its
    batches, or with every step of the optimiser, by the batch of that step."""
    reinit_dead_after: Count = 10
    """Kind `rbm`: steps without a single row after which an expert is moved to the worst-served input."""
