"""The neighbourhood of a node as far as its size goes."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Neighbourhood:
    """Around a node in a graph in which each has as many neighbours as the mean one, and no two the same."""

    num_nodes: int
    mean_degree: float

    def within(self, hops: int) -> float:
        """Nodes within so many hops, the node itself included: 1 + d + d² + …, at most all there are."""
        return min(float(self.num_nodes), sum(self.mean_degree**hop for hop in range(hops + 1)))

    def mapping(self, hops: int, num_inputs: int, num_outputs: int) -> float:
        """Operations of a linear layer on the nodes within so many hops; a multiply and an add are two."""
        return self.within(hops) * 2 * num_inputs * num_outputs

    def averaging(self, hops: int, width: int) -> float:
        """Operations of a weighted sum of rows over each of these nodes and its neighbours."""
        return self.within(hops) * 2 * width * (self.mean_degree + 1)
