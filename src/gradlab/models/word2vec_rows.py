# mypy: ignore-errors
"""Rows of large matrices, compiled: products of a few, and random numbers to choose them by.

numba keeps what it has compiled by the date of a caller's file: after a change here, the file that
calls it must be saved too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

_LINE = 16  # float32 of a line of the cache


def compiled(function: Any) -> Any:
    """A function as machine code, without the interpreter's lock."""
    return njit(fastmath=True, nogil=True, cache=True, error_model="numpy")(function)


def inlined(function: Any) -> Any:
    """One that becomes a part of those that call it."""
    return njit(fastmath=True, nogil=True, inline="always", error_model="numpy")(function)


@intrinsic
def _fetch(typingctx: Any, array: Any, row: Any, column: Any) -> Any:
    """Begin to bring a line of the cache, and do not wait for it."""
    from llvmlite import ir

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = signature.args[0]
        made = context.make_array(kind)(context, builder, args[0])
        place = cgutils.get_item_pointer(
            context, builder, kind, made, args[1:], wraparound=False, boundscheck=False
        )
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        form = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        known = cgutils.get_or_insert_function(builder.module, form, "llvm.prefetch.p0")
        builder.call(known, [builder.bitcast(place, byte), word(1), word(3), word(1)])
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp), generate


@inlined
def fetch_row(array, row, size):
    """Begin to bring a row into the cache."""
    for column in range(0, size, _LINE):
        _fetch(array, row, column)


@inlined
def random_bits(state):
    """The next 32 random bits (PCG-XSH-RR, O'Neill 2014); state: uint64 1."""
    old = state[0]
    state[0] = old * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
    mixed = np.uint32(((old >> np.uint64(18)) ^ old) >> np.uint64(27))
    turn = np.uint32(old >> np.uint64(59))
    back = (np.uint32(32) - turn) & np.uint32(31)
    return np.uint64(np.uint32(mixed >> turn) | np.uint32(mixed << back))


@inlined
def below(state, count):
    """A random whole number below `count`, by a product instead of a division (Lemire 2019)."""
    return np.intp((random_bits(state) * np.uint64(count)) >> np.uint64(32))


@compiled
def draw(state, count, share, alias, found):
    """`count` different words by their frequency (Walker's alias method); how many it found."""
    number = 0
    for _ in range(count):
        place = below(state, len(share))
        word = place if random_bits(state) < np.uint64(share[place]) else np.intp(alias[place])
        fresh = True
        for other in range(number):
            fresh = fresh and found[other] != word
        if fresh:
            found[number] = word
            number += 1
    return number


@compiled
def score_rows(a, rows, n, b, outs, m, scores):
    """scores[i * m + k] = a[rows[i]] . b[outs[k]], two rows by three at a time."""
    size = a.shape[1]
    zero = np.float32(0)
    k = 0
    while k + 3 <= m:
        o0, o1, o2 = outs[k], outs[k + 1], outs[k + 2]
        i = 0
        while i + 2 <= n:
            r0, r1 = rows[i], rows[i + 1]
            s00, s01, s02, s10, s11, s12 = zero, zero, zero, zero, zero, zero
            for d in range(size):
                x0, x1, y0, y1, y2 = a[r0, d], a[r1, d], b[o0, d], b[o1, d], b[o2, d]
                s00 += x0 * y0
                s01 += x0 * y1
                s02 += x0 * y2
                s10 += x1 * y0
                s11 += x1 * y1
                s12 += x1 * y2
            place = i * m + k
            scores[place], scores[place + 1], scores[place + 2] = s00, s01, s02
            place += m
            scores[place], scores[place + 1], scores[place + 2] = s10, s11, s12
            i += 2
        if i < n:
            r0 = rows[i]
            s00, s01, s02 = zero, zero, zero
            for d in range(size):
                x0 = a[r0, d]
                s00 += x0 * b[o0, d]
                s01 += x0 * b[o1, d]
                s02 += x0 * b[o2, d]
            place = i * m + k
            scores[place], scores[place + 1], scores[place + 2] = s00, s01, s02
        k += 3
    while k < m:
        o0 = outs[k]
        for i in range(n):
            r0 = rows[i]
            s00 = zero
            for d in range(size):
                s00 += a[r0, d] * b[o0, d]
            scores[i * m + k] = s00
        k += 1


@compiled
def add_rows(a, rows, n, b, outs, m, change, by_row, by_out):
    """a[rows[i]] += sum over k of change[i * by_row + k * by_out] * b[outs[k]]."""
    size = a.shape[1]
    i = 0
    while i < n:
        r0 = rows[i]
        # The same row twice cannot be changed side by side.
        r1 = rows[i + 1] if i + 1 < n else r0
        k = 0
        if r0 != r1:
            while k + 3 <= m:
                o0, o1, o2 = outs[k], outs[k + 1], outs[k + 2]
                p, q = i * by_row + k * by_out, (i + 1) * by_row + k * by_out
                g00, g01, g02 = change[p], change[p + by_out], change[p + 2 * by_out]
                g10, g11, g12 = change[q], change[q + by_out], change[q + 2 * by_out]
                for d in range(size):
                    y0, y1, y2 = b[o0, d], b[o1, d], b[o2, d]
                    a[r0, d] += g00 * y0 + g01 * y1 + g02 * y2
                    a[r1, d] += g10 * y0 + g11 * y1 + g12 * y2
                k += 3
            while k < m:
                o0 = outs[k]
                g00, g10 = change[i * by_row + k * by_out], change[(i + 1) * by_row + k * by_out]
                for d in range(size):
                    y0 = b[o0, d]
                    a[r0, d] += g00 * y0
                    a[r1, d] += g10 * y0
                k += 1
            i += 2
        else:
            while k + 3 <= m:
                o0, o1, o2 = outs[k], outs[k + 1], outs[k + 2]
                p = i * by_row + k * by_out
                g00, g01, g02 = change[p], change[p + by_out], change[p + 2 * by_out]
                for d in range(size):
                    a[r0, d] += g00 * b[o0, d] + g01 * b[o1, d] + g02 * b[o2, d]
                k += 3
            while k < m:
                o0, g00 = outs[k], change[i * by_row + k * by_out]
                for d in range(size):
                    a[r0, d] += g00 * b[o0, d]
                k += 1
            i += 1
