"""The compiled steps against autograd, in float64, and what they are drawn by."""

from __future__ import annotations

import heapq
import importlib

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from gradlab.models.word2vec import alias_table, huffman

pytest.importorskip("numba")
kernel = importlib.import_module("gradlab.models.word2vec_kernel")
rows = importlib.import_module("gradlab.models.word2vec_rows")

WORDS, SIZE, LR, NEGATIVES = 12, 20, 0.3, 4
DRAWN = 3
"""The only word that is ever drawn as a negative."""
TEXT = [4, 5, 3, 3, 7, 7, 8, 9, 10, 11, 2, 4, -1, 6, 5, -1, -1, 9, -1, 3, 4, 5, 6, 7]
"""Repeated words, a text of one word, an empty one; more windows than are learnt from together."""


def start(seed: int) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return tuple(generator.normal(0, 0.5, (WORDS, SIZE)).astype(np.float32) for _ in range(2))  # type: ignore[return-value]


def tree() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    ways, turns = huffman(list(range(3, 3 + WORDS)))
    return (
        np.array([node for way in ways for node in way], np.int64),
        np.array([1 - turn for way in turns for turn in way], np.int8),
        np.cumsum([0, *(len(way) for way in ways)]),
    )


class Dice:
    """The kernel's random numbers (PCG-XSH-RR), in the order in which it draws them."""

    def __init__(self, seed: int) -> None:
        self.state = seed
        self.bits()

    def bits(self) -> int:
        old = self.state
        self.state = (old * 6364136223846793005 + 1442695040888963407) % 2**64
        mixed, turn = (((old >> 18) ^ old) >> 27) % 2**32, old >> 59
        return (mixed >> turn | mixed << (-turn & 31)) % 2**32

    def skip(self, count: int) -> None:
        for _ in range(count):
            self.bits()

    def reach(self, window: int) -> int:
        return 1 + (self.bits() * window >> 32)


def learnt(
    objective: str, softmax: str, exact: bool, window: int = 1, learns: bool = True, seed: int = 1
):
    vectors, outputs = start(0)
    total, count = kernel.learn(
        np.array(TEXT, np.int32), vectors, outputs,
        np.full(WORDS, 1 << 32, np.uint64),
        np.zeros(WORDS, np.uint32), np.full(WORDS, DRAWN, np.int32), *tree(),
        {"skip_gram": 0, "cbow": 1}[objective],
        {"negative": 0, "hierarchical": 1, "full": 2}[softmax],
        NEGATIVES, window, LR, LR, exact, np.uint64(seed), learns,
    )  # fmt: skip
    return total, count, vectors, outputs


def by_hand(objective: str, softmax: str, exact: bool, window: int, seed: int = 1):
    """Neighbouring windows from the same vectors; their targets one after the other."""
    dice = Dice(seed)
    dice.skip(sum(word >= 0 for word in TEXT))
    drawing = 2 * NEGATIVES * (softmax == "negative")
    dice.skip(drawing)
    vectors, outputs = (torch.from_numpy(one).double() for one in start(0))
    nodes, codes, offsets = tree()
    total, count, at = 0.0, 0, 0
    text, together = TEXT, kernel.TOGETHER[objective == "cbow"]
    while at < len(text):
        group = 0
        while at + group < len(text) and group < together and text[at + group] >= 0:
            group += 1
        if not group:
            at += 1
            continue
        pairs = []  # of each window: words around it, its target
        for place in range(at, at + group):
            reach, around = dice.reach(window), []
            for side in (-1, 1):
                for step in range(1, reach + 1):
                    beside = place + side * step
                    if not 0 <= beside < len(text) or text[beside] < 0:
                        break
                    around.append(text[beside])
            if around:
                pairs.append((around, text[place]))
        dice.skip(drawing)

        def given(seen, around):
            rows = seen[around]
            return rows if objective == "skip_gram" else rows.mean(0, keepdim=True)

        change = torch.zeros_like(vectors)

        def descend(loss, seen, out, around):
            nonlocal total, outputs, change
            loss.backward()
            total += loss.item()
            outputs = (outputs - LR * out.grad).detach()
            times = 1 if objective == "skip_gram" or exact else len(around)
            change -= LR * seen.grad * times

        if softmax == "negative":
            out = outputs.clone().requires_grad_()
            for around, target in pairs:
                if target == DRAWN:
                    continue
                alone = vectors.clone().requires_grad_()
                loss = -F.logsigmoid(-given(alone, around) @ out[DRAWN]).sum()
                loss.backward()
                total += loss.item()
                times = 1 if objective == "skip_gram" or exact else len(around)
                change -= LR * alone.grad * times
            if out.grad is not None:
                outputs = (outputs - LR * out.grad).detach()
        for around, target in pairs:
            seen, out = vectors.clone().requires_grad_(), outputs.clone().requires_grad_()
            x = given(seen, around)
            count += len(x)
            if softmax == "negative":
                loss = -F.logsigmoid(x @ out[target]).sum()
            elif softmax == "full":
                loss = F.cross_entropy(x @ out.T, torch.full((len(x),), target), reduction="sum")
            else:
                way = slice(offsets[target], offsets[target + 1])
                signs = torch.from_numpy(codes[way]).double() * 2 - 1
                loss = -F.logsigmoid((x @ out[nodes[way]].T) * signs).sum()
            descend(loss, seen, out, around)
        vectors = vectors + change
        at += group
    return total, count, vectors, outputs


@pytest.mark.parametrize("window", [1, 4])
@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("softmax", ["negative", "hierarchical", "full"])
@pytest.mark.parametrize("objective", ["skip_gram", "cbow"])
def test_a_stretch_is_learnt_as_autograd_learns_it(objective, softmax, exact, window):
    found = learnt(objective, softmax, exact, window)
    expected = by_hand(objective, softmax, exact, window)
    assert found[0] == pytest.approx(expected[0], rel=1e-5)
    assert found[1] == expected[1]
    for one, other in zip(found[2:], expected[2:], strict=True):
        assert np.abs(one - other.numpy()).max() < 2e-5
        assert np.abs(one - start(0)[0]).max() > 0.01


def test_measuring_changes_nothing():
    total, count, *parameters = learnt("skip_gram", "negative", True, learns=False)
    assert total > 0 and count > 10
    assert all(np.array_equal(a, b) for a, b in zip(parameters, start(0), strict=True))


def test_a_seed_decides_all_that_is_drawn():
    generator = np.random.default_rng(0)
    tokens = generator.integers(WORDS, size=500).astype(np.int32)

    def once(seed: int) -> np.ndarray:
        vectors, outputs = start(0)
        kernel.learn(
            tokens, vectors, outputs, np.full(WORDS, 1 << 31, np.uint64),
            np.full(WORDS, (1 << 32) - 1, np.uint32), np.arange(WORDS, dtype=np.int32), *tree(),
            0, 0, 3, 4, 0.1, 0.0, True, np.uint64(seed), True,
        )  # fmt: skip
        return vectors

    assert np.array_equal(once(5), once(5))
    assert not np.array_equal(once(5), once(6))


def test_words_are_drawn_by_their_share():
    counts = torch.tensor([100.0, 50, 10, 1, 0.5])
    stay, other = alias_table(counts / counts.sum())
    share = np.minimum(stay.numpy() * 2**32, 2**32 - 1).astype(np.uint32)
    state, found = np.array([7], np.uint64), np.zeros(1, np.intp)
    drawn = np.zeros(5)
    for _ in range(20_000):
        assert rows.draw(state, 1, share, other.numpy().astype(np.int32), found) == 1
        drawn[found[0]] += 1
    expected = (counts / counts.sum() * 20_000).numpy()
    assert (np.abs(drawn - expected) < 5 * np.sqrt(expected) + 1).all()


def test_the_tree_is_huffmans():
    """The expected length of a way is the least there is: the sum of all merged counts."""
    counts = [40, 30, 20, 5, 3, 2, 1, 1]
    nodes, codes = huffman(counts)
    heap, least = counts.copy(), 0
    heapq.heapify(heap)
    while len(heap) > 1:
        both = heapq.heappop(heap) + heapq.heappop(heap)
        least += both
        heapq.heappush(heap, both)
    lengths = [len(way) for way in codes]
    assert sum(n * often for n, often in zip(lengths, counts, strict=True)) == least
    assert sum(2.0**-n for n in lengths) == 1  # every place of the tree is a word's
    assert {node for way in nodes for node in way} == set(range(len(counts) - 1))
    assert len({tuple(code) for code in codes}) == len(counts)
