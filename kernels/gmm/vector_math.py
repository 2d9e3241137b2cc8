"""Branch-free float32 elementary functions and a counter-based generator that LLVM turns into SIMD code.

Each function is scalar and inlined; called in a plain loop over arrays it vectorises, which the C
library's exp, log, sin and cos do not. Polynomials are minimax fits; tests/kernels/test_gmm_math.py measures
every function's error against float64. No fast-math: NaN stays NaN.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

_f = np.float32

# 2^x on [-1/2, 1/2], relative error 7.5e-8.
_E0, _E1, _E2 = _f(1.000000071655432), _f(0.6931469670620378), _f(0.24022119720072815)
_E3, _E4, _E5 = _f(0.05550713276098038), _f(0.009675541540172094), _f(0.0013276471736195284)
# sin(πx)/x and cos(πx) in x² on [-1/2, 1/2], absolute errors 1.4e-8 and 2.2e-10.
_S0, _S1, _S2 = _f(3.1415926401812375), _f(-5.1677100901381445), _f(2.5500776571656316)
_S3, _S4 = _f(-0.5982921480475769), _f(0.07765939195812271)
_C0, _C1, _C2 = _f(0.9999999997805636), _f(-4.934802137218074), _f(4.058709164123028)
_C3, _C4, _C5 = _f(-1.335212054985057), _f(0.23493755379050674), _f(-0.02439671138865317)
# ln m = 2s(1 + s²/3 + s⁴/5 + …) with s = (m−1)/(m+1), |s| ≤ 0.172: five terms leave 2e-9.
_L1, _L2, _L3, _L4 = _f(1 / 3), _f(1 / 5), _f(1 / 7), _f(1 / 9)

_ZERO, _ONE, _TWO, _HALF = _f(0.0), _f(1.0), _f(2.0), _f(0.5)
_LN2 = _f(0.6931471805599453)
_ROUND = _f(12582912.0)  # 1.5·2²³: adding it leaves round(x) in the low mantissa bits
_LOWEST = _f(-126.0)  # exponent of the smallest normal float32
_SQRT_HALF_BITS = np.int32(0x3F3504F3)
_MANTISSA = np.int32(0x007FFFFF)
_MANTISSA_BITS = np.int32(23)
_UNIT24 = _f(2.0**-24)

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_A = np.uint64(0xBF58476D1CE4E5B9)
_MIX_B = np.uint64(0x94D049BB133111EB)
_U16, _U27, _U30, _U31, _U32, _U40 = (np.uint64(n) for n in (16, 27, 30, 31, 32, 40))
_LOW24 = np.uint64(0xFFFFFF)


@intrinsic
def _float_bits(typing_context, x):
    """The int32 with the bits of a float32."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.int32(types.float32), generate


@intrinsic
def _bits_float(typing_context, x):
    """The float32 with the bits of an int32."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), generate


@njit(inline="always", fastmath={"contract"})
def exp2(x):
    """2^x for float32 x ≤ 127, relative error 2.2e-7; 2^-126 below -126."""
    x = _LOWEST if x < _LOWEST else x
    shifted = x + _ROUND
    r = x - (shifted - _ROUND)
    p = _E0 + r * (_E1 + r * (_E2 + r * (_E3 + r * (_E4 + r * _E5))))
    return _bits_float(_float_bits(p) + (_float_bits(shifted) << _MANTISSA_BITS))


@njit(inline="always", fastmath={"contract"})
def log(x):
    """ln x for positive normal float32 x, absolute error 1e-7·max(1, |ln x|)."""
    bits = _float_bits(x) - _SQRT_HALF_BITS
    exponent = np.float32(bits >> _MANTISSA_BITS)
    m = _bits_float((bits & _MANTISSA) + _SQRT_HALF_BITS)  # in [√½, √2)
    s = (m - _ONE) / (m + _ONE)
    u = s * s
    return exponent * _LN2 + _TWO * s * (_ONE + u * (_L1 + u * (_L2 + u * (_L3 + u * _L4))))


@njit(inline="always", fastmath={"contract"})
def sin_cos_turns(x):
    """(sin 2πx, cos 2πx) for float32 x in [-1/2, 1/2], absolute error 7e-7, by the half-angle identities."""
    u = x * x
    s = x * (_S0 + u * (_S1 + u * (_S2 + u * (_S3 + u * _S4))))
    c = _C0 + u * (_C1 + u * (_C2 + u * (_C3 + u * (_C4 + u * _C5))))
    return _TWO * s * c, _ONE - _TWO * s * s


@njit(inline="always")
def hash64(key, counter):
    """64 random bits for (key, counter), both uint64: the splitmix64 finaliser of key + counter·golden."""
    x = key + counter * _GOLDEN
    x = (x ^ (x >> _U30)) * _MIX_A
    x = (x ^ (x >> _U27)) * _MIX_B
    return x ^ (x >> _U31)


@njit(inline="always")
def stream_key(seed, stream):
    """The uint64 key of one random stream of one seed: two rounds, so that neighbouring seeds share nothing."""
    return hash64(hash64(np.uint64(0), np.uint64(seed) + np.uint64(1)), np.uint64(stream) + np.uint64(1))


@njit(inline="always")
def uniform(bits):
    """float32 in (0, 1) from the top 24 of 64 random bits."""
    return (np.float32(np.int32(bits >> _U40)) + _HALF) * _UNIT24


@njit(inline="always", fastmath={"contract"})
def normal_pair(bits):
    """Two independent standard normal float32 from 48 of 64 random bits (Box–Muller; |value| ≤ 5.9)."""
    radius = np.sqrt(-_TWO * log(uniform(bits)))
    turn = (np.float32(np.int32((bits >> _U16) & _LOW24)) + _HALF) * _UNIT24 - _HALF
    s, c = sin_cos_turns(turn)
    return radius * c, radius * s


@njit(inline="always")
def index_below(bits, n):
    """int32 in [0, n) from the top 32 of 64 random bits (bias below n·2⁻³²)."""
    return np.int32(((bits >> _U32) * np.uint64(n)) >> _U32)
