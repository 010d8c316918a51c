"""word2vec: a vector for each word from the words around it.

Mikolov et al. (2013), "Efficient estimation of word representations in vector space",
https://arxiv.org/abs/1301.3781, and "Distributed representations of words and phrases and their
compositionality", https://arxiv.org/abs/1310.4546.
"""

from __future__ import annotations

import heapq
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from gradlab.errors import UserError
from gradlab.models import Shape, models
from gradlab.models.sizes import describe


class Word2Vec(nn.Module):
    """Two vectors for each word: as one that is seen, and as one that is foretold.

    `vectors` are the result. The rows of `outputs` are those of the words; with hierarchical
    softmax those of the inner nodes of their tree.
    """

    def __init__(self, words: int, outputs: int, size: int) -> None:
        super().__init__()
        self.vectors = nn.Embedding(words, size)
        self.outputs = nn.Linear(size, outputs, bias=False)
        nn.init.uniform_(self.vectors.weight, -0.5 / size, 0.5 / size)
        nn.init.zeros_(self.outputs.weight)

    def forward(self, x: Tensor) -> Tensor:
        """x: int N T, words. Returns scores of what stands beside each, N T V."""
        seen = self.vectors(x)  # N T E
        scores: Tensor = self.outputs(seen)  # N T V
        return scores


@models.register("word2vec")
def word2vec(
    inputs: Shape,
    outputs: int,
    *,
    size: Annotated[int, Field(ge=1, le=65536, description="numbers of a word's vector")] = 100,
) -> Word2Vec:
    """Vectors of words; inputs (T, V): V words."""
    if len(inputs) != 2:
        raise UserError(
            f"word2vec reads texts, but the inputs are not ({describe(inputs)}): give a text, a "
            "folder or an archive of texts"
        )
    return Word2Vec(inputs[1], outputs, size)


def huffman(counts: list[int]) -> tuple[list[list[int]], list[list[int]]]:
    """The way to each word in a binary tree in which frequent ones stand near the root.

    Returns the inner nodes on the way, from the root (number 0), and at each whether the way goes
    on to its right, 1, or its left, 0 (Huffman 1952; Morin and Bengio 2005).

    >>> nodes, codes = huffman([5, 2, 1])
    >>> codes
    [[1], [0, 1], [0, 0]]
    >>> nodes
    [[0], [0, 1], [0, 1]]
    """
    count = len(counts)
    heap = [(often, -number) for number, often in enumerate(counts)]
    heapq.heapify(heap)
    parent: dict[int, tuple[int, int]] = {}
    made = count
    while len(heap) > 1:
        (a, left), (b, right) = heapq.heappop(heap), heapq.heappop(heap)
        parent[-left], parent[-right] = (made, 0), (made, 1)
        heapq.heappush(heap, (a + b, -made))
        made += 1
    nodes, codes = [], []
    for word in range(count):
        way, turns, place = [], [], word
        while place in parent:
            place, turn = parent[place]
            way.append(made - 1 - place)
            turns.append(turn)
        nodes.append(way[::-1])
        codes.append(turns[::-1])
    return nodes, codes


def alias_table(shares: Tensor) -> tuple[Tensor, Tensor]:
    """Tables by which a word is drawn in two steps: a place, then it or another (Walker 1977).

    shares: N, of sum 1. Returns the chance of staying, N, and the other word, N.

    >>> stay, other = alias_table(torch.tensor([0.5, 0.25, 0.25]))
    >>> drawn = torch.zeros(3).double().index_add(0, other, (1 - stay) / 3) + stay / 3
    >>> drawn.tolist()
    [0.5, 0.25, 0.25]
    """
    left = (shares.double() * len(shares)).tolist()
    stay, other = [1.0] * len(left), list(range(len(left)))
    small = [n for n, share in enumerate(left) if share < 1]
    large = [n for n, share in enumerate(left) if share >= 1]
    while small and large:
        little, much = small.pop(), large[-1]
        stay[little], other[little] = left[little], much
        left[much] -= 1 - left[little]
        if left[much] < 1:
            small.append(large.pop())
    return torch.tensor(stay, dtype=torch.float64), torch.tensor(other)
