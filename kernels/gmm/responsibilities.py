"""Responsibilities of a mixture from its component log-densities: the softmax of the E-step, vectorised."""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

_LOG2_E = 1.4426950408889634
_LN2_HIGH, _LN2_LOW = 0.693145751953125, 1.42860682030941723e-6  # Cody–Waite split of ln 2
_ROUND = 6755399441055744.0  # 1.5·2⁵²: adding it leaves round(x) in the low mantissa bits
BLOCK_ROWS = 512
_LOWEST = -708.0  # e^-708 is the smallest normal float64
# Taylor coefficients 1/k! of eˣ on |x| ≤ ln 2 / 2: degree 12 leaves 2e-16.
_T = tuple(1.0 / float(f) for f in np.cumprod([1, *range(1, 13)]))
_T2, _T3, _T4, _T5, _T6, _T7, _T8, _T9, _T10, _T11, _T12 = _T[2:]


@intrinsic
def _scale_by_power(typing_context, value, shifted):
    """value·2^round, the power taken from the low bits of the float64 `shifted` = round + 1.5·2⁵²."""

    def generate(context, builder, signature, arguments):
        integer = ir.IntType(64)
        bits = builder.bitcast(arguments[0], integer)
        power = builder.shl(builder.bitcast(arguments[1], integer), ir.Constant(integer, 52))
        return builder.bitcast(builder.add(bits, power), ir.DoubleType())

    return types.float64(types.float64, types.float64), generate


@njit(inline="always", fastmath={"contract"})
def exp_nonpositive(x):
    """eˣ for float64 x ≤ 0, relative error 4e-16; e⁻⁷⁰⁸ below −708."""
    x = _LOWEST if x < _LOWEST else x
    shifted = x * _LOG2_E + _ROUND
    n = shifted - _ROUND
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    p = _T8 + r * (_T9 + r * (_T10 + r * (_T11 + r * _T12)))
    p = 1.0 + r * (1.0 + r * (_T2 + r * (_T3 + r * (_T4 + r * (_T5 + r * (_T6 + r * (_T7 + r * p)))))))
    return _scale_by_power(p, shifted)


@njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy")
def normalise_columns(log_joint, largest, total):
    """Turns log_joint (K, N) = log π_k N(x_n; k) into responsibilities in place.

    Fills largest and total (N,): log p(x_n) = largest + ln total. A column of NaN stays NaN and makes its total
    NaN. Rows are the SIMD axis, in blocks that stay in the first-level cache.
    """
    components, rows = log_joint.shape
    for start in range(0, rows, BLOCK_ROWS):
        stop = min(start + BLOCK_ROWS, rows)
        most, mass = largest[start:stop], total[start:stop]
        most[:] = log_joint[0, start:stop]
        for k in range(1, components):
            part = log_joint[k, start:stop]
            for n in range(most.size):
                most[n] = part[n] if part[n] > most[n] else most[n]
        mass[:] = 0.0
        for k in range(components):
            part = log_joint[k, start:stop]
            for n in range(most.size):
                e = exp_nonpositive(part[n] - most[n])
                part[n] = e
                mass[n] += e
        scale = 1.0 / mass
        for k in range(components):
            part = log_joint[k, start:stop]
            for n in range(most.size):
                part[n] *= scale[n]
