# mypy: ignore-errors
"""The steps of word2vec over a stretch of text, compiled.

A step is made of small matrix products instead of pairs: neighbouring windows are learnt from
together and share their negatives and the rows of their context (Ji et al. 2016, "Parallelizing
word2vec in shared and distributed memory", https://arxiv.org/abs/1604.04661; Rengasamy et al. 2017,
"Optimizing word2vec performance on multicore systems"). Rows of words that are about to come are
fetched into the cache while others are computed.

    inputs    N D   vectors of the words around (skip-gram), or their mean for each window (CBOW)
    outputs   M D   a window's target, or the nodes of its path, or all words; negatives of all
    scores    M N

The only random numbers are those of a generator that the caller seeds; nothing is global.
"""

from __future__ import annotations

import math

import numpy as np

from gradlab.models.word2vec_rows import (
    add_rows,
    below,
    compiled,
    draw,
    fetch_row,
    inlined,
    random_bits,
    score_rows,
)

SKIP_GRAM, CBOW = 0, 1
NEGATIVE, HIERARCHICAL, FULL = 0, 1, 2
TOGETHER = (2, 6)
"""Windows of skip-gram and of CBOW that are learnt from together."""
REACH = 16.0
"""Scores beyond this are taken for this: the sigmoid is 1 there to seven digits."""
CELLS = 256
"""Points of the tables in each unit; between them they are lines, right to 5e-7."""

_POINTS = np.arange(2 * REACH * CELLS + 2) / CELLS - REACH
_SIGMOID = (1 / (1 + np.exp(-_POINTS))).astype(np.float32)
_LOSS = np.log1p(np.exp(-_POINTS)).astype(np.float32)


@inlined
def _logistic(score):
    """The sigmoid of a score, and minus its logarithm."""
    at = (min(max(score, np.float32(-REACH)), np.float32(REACH)) + np.float32(REACH)) * np.float32(
        CELLS
    )
    cell = np.intp(at)
    rest = at - np.float32(cell)
    share = _SIGMOID[cell] + rest * (_SIGMOID[cell + 1] - _SIGMOID[cell])
    return share, _LOSS[cell] + rest * (_LOSS[cell + 1] - _LOSS[cell])


@compiled
def _binary(scores, m, n, truth, times, lr):
    """Scores of yes-or-no questions become changes (lr times minus the gradient); their loss.

    truth: 1 where the answer is yes, M; times: how often each row asks, M N or, for all alike, N.
    """
    loss = np.float32(0)
    for k in range(m):
        yes = truth[k] > 0
        for i in range(n):
            place = k * n + i
            share, cost = _logistic(scores[place] if yes else -scores[place])
            change = lr * times[place] * (np.float32(1) - share)
            scores[place] = change if yes else -change
            loss += times[place] * cost
    return loss


@compiled
def _softmax(scores, m, n, right, lr):
    """Scores of all words become changes; the loss of naming the word `right`."""
    loss = 0.0
    for i in range(n):
        most = scores[i]
        for k in range(1, m):
            most = max(most, scores[k * n + i])
        total = np.float32(0)
        loss -= scores[right * n + i] - most
        for k in range(m):
            share = np.float32(math.exp(scores[k * n + i] - most))
            scores[k * n + i] = share
            total += share
        for k in range(m):
            scores[k * n + i] *= -lr / total
        scores[right * n + i] += lr
        loss += math.log(total)
    return loss


@compiled
def _kept(tokens, keep, state, kept):
    """The stretch without the frequent words that are left out by chance; how many are left.

    tokens: int32, -1 where a text ends; keep: the chance of each word, of 2**32.
    """
    count = 0
    for token in tokens:
        if token < 0 or random_bits(state) < keep[token]:
            kept[count] = token
            count += 1
    return count


@compiled
def learn(
    tokens, vectors, outputs, keep, share, alias, nodes, codes, offsets,
    objective, mode, negatives, window, first_lr, last_lr, exact, seed, learns,
):  # fmt: skip
    """Learn from a stretch of text; the sum of its losses, and the number of predictions.

    tokens: int32 T, -1 where a text ends. vectors, outputs: float32, changed in place unless
    `learns` is false. keep: uint64 V. share, alias: the table that negatives are drawn by.
    nodes, codes, offsets: the path of word w is `nodes[offsets[w]:offsets[w + 1]]`. The learning
    rate goes in a line. exact: CBOW's gradient divides by the words of the window.
    """
    words, size = vectors.shape
    state = np.empty(1, np.uint64)
    state[0] = seed
    random_bits(state)
    kept = np.empty(len(tokens), np.int32)
    length = _kept(tokens, keep, state, kept)
    widest = words if mode == FULL else 1
    if mode == HIERARCHICAL:
        for word in range(words):
            widest = max(widest, offsets[word + 1] - offsets[word])
    together = TOGETHER[objective]
    most = together + 2 * window
    before = np.empty((most, size), np.float32)
    changes = np.empty((most, size), np.float32)
    scores = np.empty(most * max(widest, negatives), np.float32)
    times = np.empty(most * max(widest, negatives), np.float32)
    ones = np.ones(most * widest, np.float32)
    counting = np.arange(max(most, widest, negatives))
    no = np.zeros(max(negatives, 1), np.int8)
    gained = np.empty(size, np.float32)
    outs, picked = counting.copy(), np.empty(most, np.intp)
    lows, highs = np.empty(together, np.intp), np.empty(together, np.intp)
    drawn, coming = np.empty(negatives, np.intp), np.empty(negatives, np.intp)
    ready = draw(state, negatives, share, alias, coming) if mode == NEGATIVE else 0
    total, predictions = 0.0, 0
    begin, end = 0, 0  # of the text
    at = 0
    while at < length:
        if kept[at] < 0:
            at += 1
            begin = at
            continue
        if end <= at:
            end = at
            while end < length and kept[end] >= 0:
                end += 1
        lr = np.float32(first_lr + (last_lr - first_lr) * (at / length))
        group = min(together, end - at)
        low, high = at, at + 1  # the words that any of the windows holds
        for j in range(group):
            reach = 1 + below(state, window)
            lows[j] = max(at + j - reach, begin)
            highs[j] = min(at + j + reach + 1, end)
            low, high = min(low, lows[j]), max(high, highs[j])
        for place in range(high, min(high + together, end)):
            fetch_row(vectors, np.intp(kept[place]), size)
        if mode == NEGATIVE:
            for place in range(at + group, min(at + group + together, end)):
                fetch_row(outputs, np.intp(kept[place]), size)
            drawn, coming, found = coming, drawn, ready
            ready = draw(state, negatives, share, alias, coming)
            for k in range(ready):
                fetch_row(outputs, coming[k], size)
        # What goes in: N D.
        if objective == SKIP_GRAM:
            n = high - low
            for i in range(n):
                word = kept[low + i]
                for d in range(size):
                    before[i, d] = vectors[word, d]
                    changes[i, d] = 0
        else:
            n = group
            for j in range(group):
                scale = np.float32(1 / max(highs[j] - lows[j] - 1, 1))
                for d in range(size):
                    before[j, d] = 0
                    changes[j, d] = 0
                place = lows[j]
                while place < highs[j]:
                    # Two words at a time, without the one in the middle.
                    place += place == at + j
                    after = place + 1 + (place + 1 == at + j)
                    if after < highs[j]:
                        one, two = kept[place], kept[after]
                        for d in range(size):
                            before[j, d] += scale * (vectors[one, d] + vectors[two, d])
                    elif place < highs[j]:
                        one = kept[place]
                        for d in range(size):
                            before[j, d] += scale * vectors[one, d]
                    place = after + 1
        # What they are to say no to: the same words for all.
        if mode == NEGATIVE and found:
            for k in range(found):
                for i in range(n):
                    times[k * n + i] = 0
            for j in range(group):
                for k in range(found):
                    if drawn[k] == kept[at + j]:
                        continue
                    if objective == CBOW:
                        times[k * n + j] = highs[j] - lows[j] > 1
                        continue
                    for place in range(lows[j], highs[j]):
                        times[k * n + place - low] += 1
                    times[k * n + at + j - low] -= 1
            score_rows(outputs, drawn, found, before, counting, n, scores)
            total += _binary(scores, found, n, no, times, lr)
            if learns:
                add_rows(changes, counting, n, outputs, drawn, found, scores, 1, n)
                add_rows(outputs, drawn, found, before, counting, n, scores, n, 1)
        # What they are to say yes to: each window its own.
        for j in range(group):
            centre = np.intp(kept[at + j])
            if mode == NEGATIVE and objective == CBOW:
                if highs[j] - lows[j] < 2:
                    continue
                score = np.float32(0)
                for d in range(size):
                    score += before[j, d] * outputs[centre, d]
                right, cost = _logistic(score)
                total += cost
                predictions += 1
                if learns:
                    change = lr * (np.float32(1) - right)
                    for d in range(size):
                        y = outputs[centre, d]
                        changes[j, d] += change * y
                        outputs[centre, d] = y + change * before[j, d]
                continue
            count = 0
            if objective == SKIP_GRAM:
                for place in range(lows[j], highs[j]):
                    picked[count] = place - low
                    count += place != at + j
            elif highs[j] - lows[j] > 1:
                picked[0], count = j, 1
            if not count:
                continue
            predictions += count
            if mode == NEGATIVE:
                # One output alone, two inputs at a time: calls would take longer than arithmetic.
                for d in range(size):
                    gained[d] = 0
                i = 0
                while i < count:
                    p, q = picked[i], picked[min(i + 1, count - 1)]
                    score, other = np.float32(0), np.float32(0)
                    for d in range(size):
                        y = outputs[centre, d]
                        score += before[p, d] * y
                        other += before[q, d] * y
                    right, cost = _logistic(score)
                    change = lr * (np.float32(1) - right)
                    total += cost
                    if i + 1 < count:
                        right, cost = _logistic(other)
                        second = lr * (np.float32(1) - right)
                        total += cost
                        for d in range(size):
                            y = outputs[centre, d]
                            changes[p, d] += change * y
                            changes[q, d] += second * y
                            gained[d] += change * before[p, d] + second * before[q, d]
                    else:
                        for d in range(size):
                            changes[p, d] += change * outputs[centre, d]
                            gained[d] += change * before[p, d]
                    i += 2
                if learns:
                    for d in range(size):
                        outputs[centre, d] += gained[d]
                continue
            m, answers = words, no
            if mode == HIERARCHICAL:
                first, last = offsets[centre], offsets[centre + 1]
                m, answers = last - first, codes[first:last]
                for k in range(m):
                    outs[k] = nodes[first + k]
            score_rows(outputs, outs, m, before, picked, count, scores)
            if mode == FULL:
                total += _softmax(scores, m, count, centre, lr)
            else:
                total += _binary(scores, m, count, answers, ones, lr)
            if learns:
                add_rows(changes, picked, count, outputs, outs, m, scores, 1, count)
                add_rows(outputs, outs, m, before, picked, count, scores, count, 1)
        if learns and objective == SKIP_GRAM:
            for i in range(n):
                word = kept[low + i]
                for d in range(size):
                    vectors[word, d] += changes[i, d]
        elif learns:
            for j in range(group):
                scale = np.float32(1 / max(highs[j] - lows[j] - 1, 1) if exact else 1)
                place = lows[j]
                while place < highs[j]:
                    place += place == at + j
                    after = place + 1 + (place + 1 == at + j)
                    one = kept[min(place, highs[j] - 1)]
                    two = kept[after] if after < highs[j] else one
                    if one != two:
                        for d in range(size):
                            change = scale * changes[j, d]
                            vectors[one, d] += change
                            vectors[two, d] += change
                    elif place < highs[j]:
                        many = scale * (1 + (after < highs[j]))
                        for d in range(size):
                            vectors[one, d] += many * changes[j, d]
                    place = after + 1
        at += group
    return total, predictions
