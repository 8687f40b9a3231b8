"""How a graph chooses experts; what it chooses by is the student's.

Every router multiplies the layer's input with a matrix and makes scores of the products; a layer may compute
them beside its experts' own. Dimension letters: B batch, D layer input, W columns of a router's matrix, R
router width, E experts, K experts per row.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from rbm_training.onnx.builder import GraphBuilder
from rbm_training.onnx.inputs import Floats, LayerInput, Reads


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
