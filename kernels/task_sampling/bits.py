"""Sixty-four tokens at a time: random bytes to bit masks by comparison, bit masks to role bytes.

Each function has a slow definition in NumPy, which runs when Numba is off, and a Numba version made of
a few generic LLVM vector instructions (compare and select on <64 x i8>) that LLVM lowers for any
target. Bit i of a mask belongs to token i. No bounds are checked: the caller keeps within its arrays.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

WORD = ir.IntType(64)
BYTES_64 = ir.VectorType(ir.IntType(8), 64)
BITS_64 = ir.VectorType(ir.IntType(1), 64)


def below_bytes(words, at, threshold):
    """uint64 mask of the bytes below `threshold` (uint8) among the 64 bytes of words[at … at + 7] (uint64)."""
    hits = words[at : at + 8].view(np.uint8) < threshold
    return np.packbits(hits, bitorder="little").view(np.uint64)[0]


def blend_bytes(out, at, template, start, first, second, a, b):
    """Writes 64 bytes to out[at:]: a where `first` is set, else b where `second` is, else those of template[start:]."""
    masks = np.array([first, second], np.uint64).view(np.uint8)
    in_first, in_second = np.unpackbits(masks, bitorder="little").astype(bool).reshape(2, 64)
    out[at : at + 64] = np.where(in_first, a, np.where(in_second, b, template[start : start + 64]))


def count_ones(mask):
    """int64 number of set bits of a uint64."""
    return np.int64(int(mask).bit_count())


@intrinsic
def _below_bytes(typing_context, words, at, threshold):
    def generate(context, builder, signature, arguments):
        array, index, limit = arguments
        random = builder.load(_bytes_at(context, builder, signature.args[0], array, index), align=8)
        return builder.bitcast(builder.icmp_unsigned("<", random, _splat(builder, limit)), WORD)

    return types.uint64(words, types.intp, types.uint8), generate


@intrinsic
def _blend_bytes(typing_context, out, at, template, start, first, second, a, b):
    def generate(context, builder, signature, arguments):
        out, at, template, start, first, second, a, b = arguments
        to = _bytes_at(context, builder, signature.args[0], out, at)
        origin = _bytes_at(context, builder, signature.args[2], template, start)
        rest = builder.load(origin, align=1)
        rest = builder.select(builder.bitcast(second, BITS_64), _splat(builder, b), rest)
        rest = builder.select(builder.bitcast(first, BITS_64), _splat(builder, a), rest)
        builder.store(rest, to, align=1)
        return context.get_dummy_value()

    mask, byte = types.uint64, types.uint8
    return types.void(out, types.intp, template, types.intp, mask, mask, byte, byte), generate


@intrinsic
def _count_ones(typing_context, mask):
    def generate(context, builder, signature, arguments):
        return builder.ctpop(arguments[0])

    return types.int64(types.uint64), generate


def _bytes_at(context, builder, kind, array, index):
    """Pointer to the 64 bytes of a contiguous array from its item `index` on."""
    data = context.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), BYTES_64.as_pointer())


def _splat(builder, byte):
    """<64 x i8> with `byte` in every lane."""
    undefined = ir.Constant(BYTES_64, ir.Undefined)
    lane_0 = builder.insert_element(undefined, byte, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(lane_0, undefined, ir.Constant(ir.VectorType(ir.IntType(32), 64), [0] * 64))


@overload(below_bytes)
def _compile_below_bytes(words, at, threshold):
    return lambda words, at, threshold: _below_bytes(words, at, threshold)


@overload(blend_bytes)
def _compile_blend_bytes(out, at, template, start, first, second, a, b):
    return lambda out, at, template, start, first, second, a, b: _blend_bytes(
        out, at, template, start, first, second, a, b
    )


@overload(count_ones)
def _compile_count_ones(mask):
    return lambda mask: _count_ones(mask)
