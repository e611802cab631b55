"""A soft tree of cluster nodes above the tasks of a batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


class ClusterLevel(nn.Module):
    """Cluster nodes that receive messages from all nodes of the level below.

    Each sender divides its message among the receivers by a softmax.
    """

    def __init__(self, dim: int, n_clusters: int) -> None:
        super().__init__()
        self.gate = nn.Linear(dim, n_clusters)
        self.weight = _square_matrices(n_clusters, dim)
        self.bias = nn.Parameter(torch.zeros(n_clusters, dim))

    def forward(self, states: Float[Tensor, "T I D"]) -> Float[Tensor, "T J D"]:
        """Map the states of the level below to those of this level."""
        fraction = self.gate(states).softmax(2)
        messages = torch.einsum("tid,jde->tije", states, self.weight) + self.bias
        out: Tensor = (fraction[..., None] * messages.tanh()).sum(1)
        return out


class ClusterTree(nn.Module):
    """Graph of a task node, levels of cluster nodes and a root, with soft edges between levels.

    Formula:
        p_i = softmax_i(-‖e - c_i‖² / (2σ)),  leaf_i = p_i tanh(W_i e + b_i)
        node_j = Σ_i softmax_j(g_j · node_i + a_j) tanh(U_j node_i + b_j),  for each further level
        root = Σ_j tanh(U node_j + b)

    Args:
        dim: width D of all nodes.
        widths: number of clusters of each level, leaves first.
        sigma: σ.

    Example:
        >>> import torch
        >>> from graphfew.nn.cluster_tree import ClusterTree
        >>> tree = ClusterTree(8, widths=(4, 2))
        >>> tree.leaf_probs(torch.zeros(3, 8)).shape, tree(torch.zeros(3, 8)).shape
        (torch.Size([3, 4]), torch.Size([3, 8]))

    Source:
        Yao, Wei, Huang, Li, 2019, Hierarchically Structured Meta-learning.

    Deviations:
        Biases start at 0.
    """

    def __init__(self, dim: int, widths: Sequence[int] = (4, 2), sigma: float = 10.0) -> None:
        super().__init__()
        self.sigma = sigma
        bound = (6 / (dim + 1)) ** 0.5
        self.centers = nn.Parameter(torch.empty(widths[0], dim).uniform_(-bound, bound))
        self.leaf_weight = _square_matrices(widths[0], dim)
        self.leaf_bias = nn.Parameter(torch.zeros(widths[0], dim))
        self.levels = nn.ModuleList(ClusterLevel(dim, width) for width in widths[1:])
        self.root = nn.Linear(dim, dim)
        nn.init.xavier_uniform_(self.root.weight)
        nn.init.zeros_(self.root.bias)

    def leaf_probs(self, tasks: Float[Tensor, "T D"]) -> Float[Tensor, "T L"]:
        """Return the probability of each leaf for task embeddings `[T, D]`."""
        # Without ‖e‖², which all leaves have in common and which can overflow.
        scores = 2 * tasks @ self.centers.T - self.centers.square().sum(1)
        return (scores / (2 * self.sigma)).softmax(1)

    def forward(self, tasks: Float[Tensor, "T D"]) -> Float[Tensor, "T D"]:
        """Return the root's state for task embeddings `[T, D]`."""
        leaves = torch.einsum("td,lde->tle", tasks, self.leaf_weight) + self.leaf_bias
        states = self.leaf_probs(tasks)[..., None] * leaves.tanh()
        for level in self.levels:
            states = level(states)
        out: Tensor = self.root(states).tanh().sum(1)
        return out


def _square_matrices(n: int, dim: int) -> nn.Parameter:
    """Return n matrices `[dim, dim]`, each initialized as one linear layer."""
    matrices = torch.empty(n, dim, dim)
    for matrix in matrices:
        nn.init.xavier_uniform_(matrix)
    return nn.Parameter(matrices)
