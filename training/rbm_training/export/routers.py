"""How a graph chooses experts: by cosines with memories, by distances to them, or by a learnt projection.

Every router multiplies the layer's input with a matrix and makes scores of the products; a layer may compute
them beside its experts' own. Dimension letters: B batch, D layer input, W columns of a router's matrix, R
router width, E experts, K experts per row.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from rbm_training.export.inputs import Floats, LayerInput, Reads, norms, square_sums
from rbm_training.onnx.builder import GraphBuilder


@dataclass(frozen=True, slots=True)
class Scores:
    """Names of what experts are chosen by, (B, E), and of what all of a row's similarities share beyond it,
    (B, 1)."""

    each: str
    shared: str | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """Names of the chosen experts, their shares and similarities, (B, K) each, and of all scores (B, E)."""

    experts: str
    weights: str
    similarity: str
    scores: str
    top_k: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Router(ABC):
    """Sends a row to the K experts of largest score, with shares softmax(score / τ), τ the temperature.

    `reads` is the part of the input that decides. Shapes: matrix (D, W), zero where nothing is read, and bias
    (W,).
    """

    matrix: Floats
    bias: Floats
    top_k: int
    inverse_temperature: float
    reads: Reads = "all"

    @abstractmethod
    def score(self, graph: GraphBuilder, product: str, x: LayerInput) -> Scores:
        """Scores from the product x M + b, (B, W)."""

    def choose(self, graph: GraphBuilder, product: str, x: LayerInput) -> Choice:
        """The experts of each row, ties to the lowest index."""
        scores = self.score(graph, product, x)
        K = graph.integers(self.top_k)
        chosen, experts = graph.add_many("TopK", 2, scores.each, K, axis=-1)
        weights = self._weigh(graph, scores.each, experts, chosen)
        similarity = graph.add("Add", chosen, scores.shared) if scores.shared else chosen
        return Choice(experts, weights, similarity, scores.each, self.top_k)

    def _weigh(self, graph: GraphBuilder, scores: str, experts: str, chosen: str) -> str:
        return self._softmax(graph, chosen)

    def _softmax(self, graph: GraphBuilder, scores: str) -> str:
        if self.inverse_temperature != 1:
            scores = graph.add("Mul", scores, graph.constant(self.inverse_temperature))
        return graph.add("Softmax", scores, axis=-1)


@dataclass(frozen=True, slots=True, kw_only=True)
class CosineRouter(Router):
    """Cosines with memories; the columns of the matrix are unit memories."""

    def score(self, graph: GraphBuilder, product: str, x: LayerInput) -> Scores:
        """Products over the norms of the rows."""
        return Scores(graph.add("Div", product, norms(graph, x.squares(graph, self.reads))))


@dataclass(frozen=True, slots=True, kw_only=True)
class DistanceRouter(Router):
    """c_e = −‖x − m_e‖² / 2s² of memories m_e.

    With m̄ the mean memory, s² c_e = [x·(m_e − m̄) − (‖m_e‖² − ‖m̄‖²) / 2] + [x·m̄ − ‖m̄‖² / 2 − ‖x‖² / 2].
    Only the first bracket tells experts apart, and only it chooses and weighs them: the second may be many
    times larger, and in float32 its rounding would drown the differences. The matrix and bias hold the first
    bracket by s², and in their last column the second without ‖x‖².
    """

    spread: float

    def score(self, graph: GraphBuilder, product: str, x: LayerInput) -> Scores:
        """The products are the scores; the last of them and the norm are shared."""
        E = self.matrix.shape[1] - 1
        scores, constant = graph.add_many("Split", 2, product, graph.integers(E, 1), axis=1)
        halves = graph.constant(0.5 / self.spread)
        own = graph.add("Mul", x.squares(graph, self.reads), halves)
        return Scores(scores, graph.add("Sub", constant, own))


@dataclass(frozen=True, slots=True, kw_only=True)
class LearntRouter(Router):
    """Cosines of a projection u = x P + p, (B, R), with unit prototypes (R, E).

    With `over_all` the softmax is over all experts, of which the chosen keep their shares.
    """

    prototypes: Floats
    over_all: bool

    def score(self, graph: GraphBuilder, product: str, x: LayerInput) -> Scores:
        """Products of the projection with the prototypes, over its norms."""
        products = graph.add("MatMul", product, graph.constant(self.prototypes))
        squares = square_sums(graph, product, len(self.prototypes))
        return Scores(graph.add("Div", products, norms(graph, squares)))

    def _weigh(self, graph: GraphBuilder, scores: str, experts: str, chosen: str) -> str:
        if not self.over_all:
            return self._softmax(graph, chosen)
        return graph.add("GatherElements", self._softmax(graph, scores), experts, axis=1)
