"""Stochastic descent of KL(p‖q) over joint and marginal matching tasks: the paper's §4.1, one seed a call.

p_k = N(μ_k, L_k L_kᵀ) with L = [[exp l₀, 0], [c, exp l₁]] and equal weights; q is a square grid of equal
isotropic Gaussians. kernels/gmm/reference.py states the same mathematics in NumPy.

Legend: K components, N samples a step, P samples padded to whole vectors, M means of q on one line.
Arrays are float32 unless said; the sample axis is the SIMD axis.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from kernels.gmm.vector_math import exp2, hash64, index_below, log, normal_pair, stream_key, uniform

LANES = 8  # float32 in an AVX2 vector: loops without a remainder run fastest
BLOCK = 5  # components a pass over the samples: sums stay in registers for five exponentials
PARAMETER_ROWS = ("mean_0", "mean_1", "log_diagonal_0", "log_diagonal_1", "off_diagonal")
STREAM_START, STREAM_TASK, STREAM_DIRECTION, STREAM_NORMAL, STREAM_COMPONENT = range(5)

_MU0, _MU1, _LOG0, _LOG1, _OFF = range(5)  # rows of parameters and of gradient
_X0, _X1, _E0, _E1, _G0, _G1, _SUM, _NUM0, _NUM1, _FAR = range(10)  # rows of the sample workspace
_L0, _L1, _M0, _A, _B, _C, _SCALE = range(7)  # rows of the component workspace
SAMPLE_ROWS, COMPONENT_ROWS, ACCUMULATOR_COLUMNS = 10, 7, 8

_f = np.float32
_ZERO, _ONE, _HALF = _f(0.0), _f(1.0), _f(0.5)
_LOG2_E = _f(math.log2(math.e))
_HALF_LOG2_E = _f(0.5 * math.log2(math.e))
_TWO_LN2 = _f(2 * math.log(2))
_fast = {"cache": True, "fastmath": {"contract"}, "error_model": "numpy"}


@njit(**_fast)
def draw_noise(key_normal, key_component, step, components, work, z):
    """Fills rows E0, E1 of work (10, P) with normals and z (P,) int32 with components, for one step.

    Sample n of step s depends on (key, s·P + n) alone.
    """
    first = np.uint64(step) * np.uint64(z.size)
    for n in range(z.size):
        work[_E0, n], work[_E1, n] = normal_pair(hash64(key_normal, first + np.uint64(n)))
    for n in range(z.size):
        z[n] = index_below(hash64(key_component, first + np.uint64(n)), components)


@njit(**_fast)
def _target_score(x, means, precision, reach, far, total, numerator, score):
    """Adds −d/dx log q(x) to score (P,), q a mixture of N(means (M,), 1/precision) of equal weights.

    reach: the largest |mean|. Between neighbouring means no exponent is large; outside them the distance
    `far` to the outermost is factored out, so that nothing underflows. far, total, numerator: (P,) work.
    """
    c = -_HALF_LOG2_E * precision
    for n in range(x.size):
        beyond = abs(x[n]) - reach
        beyond = _ZERO if beyond < _ZERO else beyond
        far[n] = c * beyond * beyond
        total[n] = _ZERO
        numerator[n] = _ZERO
    blocked = means.size // BLOCK * BLOCK
    for j in range(0, blocked, BLOCK):
        m0, m1, m2, m3, m4 = means[j], means[j + 1], means[j + 2], means[j + 3], means[j + 4]
        for n in range(x.size):
            d0, d1, d2, d3, d4 = x[n] - m0, x[n] - m1, x[n] - m2, x[n] - m3, x[n] - m4
            e0, e1, e2 = exp2(c * d0 * d0 - far[n]), exp2(c * d1 * d1 - far[n]), exp2(c * d2 * d2 - far[n])
            e3, e4 = exp2(c * d3 * d3 - far[n]), exp2(c * d4 * d4 - far[n])
            total[n] += e0 + e1 + e2 + e3 + e4
            numerator[n] += e0 * d0 + e1 * d1 + e2 * d2 + e3 * d3 + e4 * d4
    for j in range(blocked, means.size):
        m = means[j]
        for n in range(x.size):
            d = x[n] - m
            e = exp2(c * d * d - far[n])
            total[n] += e
            numerator[n] += e * d
    for n in range(x.size):
        score[n] += precision * numerator[n] / total[n]


@njit(**_fast)
def _model_score(x, means, slopes, scales, total, numerator, score):
    """Sets score (P,) to d/dx log p(x), p a mixture of N(means (K,), variances (K,)) of equal weights.

    slopes (K,): −½·log₂e/variance. scales (K,): −½·log₂ variance. total, numerator: (P,) work. A sample's own
    component keeps the sum away from zero, so it needs no shift.
    """
    for n in range(x.size):
        total[n] = _ZERO
        numerator[n] = _ZERO
    blocked = means.size // BLOCK * BLOCK
    for k in range(0, blocked, BLOCK):
        m0, m1, m2, m3, m4 = means[k], means[k + 1], means[k + 2], means[k + 3], means[k + 4]
        s0, s1, s2, s3, s4 = slopes[k], slopes[k + 1], slopes[k + 2], slopes[k + 3], slopes[k + 4]
        w0, w1, w2, w3, w4 = scales[k], scales[k + 1], scales[k + 2], scales[k + 3], scales[k + 4]
        for n in range(x.size):
            d0, d1, d2, d3, d4 = x[n] - m0, x[n] - m1, x[n] - m2, x[n] - m3, x[n] - m4
            u0, u1, u2, u3, u4 = s0 * d0, s1 * d1, s2 * d2, s3 * d3, s4 * d4
            e0, e1, e2 = exp2(w0 + u0 * d0), exp2(w1 + u1 * d1), exp2(w2 + u2 * d2)
            e3, e4 = exp2(w3 + u3 * d3), exp2(w4 + u4 * d4)
            total[n] += e0 + e1 + e2 + e3 + e4
            numerator[n] += e0 * u0 + e1 * u1 + e2 * u2 + e3 * u3 + e4 * u4
    for k in range(blocked, means.size):
        m, s, w = means[k], slopes[k], scales[k]
        for n in range(x.size):
            d = x[n] - m
            u = s * d
            e = exp2(w + u * d)
            total[n] += e
            numerator[n] += e * u
    for n in range(x.size):
        score[n] = _TWO_LN2 * numerator[n] / total[n]


@njit(**_fast)
def _marginal_scores(parameters, axis, precision, a0, a1, z, work, comp):
    """Fills rows G0, G1 of work with (s_p − s_q)·a for the one-dimensional marginals of aᵀx."""
    mean, first, second, slope, scale = comp[_M0], comp[_A], comp[_B], comp[_C], comp[_SCALE]
    for k in range(mean.size):
        mean[k] = a0 * parameters[_MU0, k] + a1 * parameters[_MU1, k]
        first[k] = a0 * comp[_L0, k] + a1 * parameters[_OFF, k]
        second[k] = a1 * comp[_L1, k]
        variance = first[k] * first[k] + second[k] * second[k]
        slope[k] = -_HALF_LOG2_E / variance
        scale[k] = -_HALF_LOG2_E * log(variance)
    for n in range(z.size):
        k = z[n]
        work[_X0, n] = comp[_M0, k] + comp[_A, k] * work[_E0, n] + comp[_B, k] * work[_E1, n]
    _model_score(work[_X0], comp[_M0], comp[_C], comp[_SCALE], work[_SUM], work[_NUM0], work[_G0])
    side = axis.size
    means = np.empty(side * side, np.float32)
    for i in range(side):
        for j in range(side):
            means[i * side + j] = a0 * axis[i] + a1 * axis[j]
    reach = (abs(a0) + abs(a1)) * axis[side - 1]
    _target_score(work[_X0], means, precision, reach, work[_FAR], work[_X1], work[_NUM1], work[_G0])
    for n in range(z.size):
        g = work[_G0, n]
        work[_G0, n] = g * a0
        work[_G1, n] = g * a1


@njit(**_fast)
def _joint_scores(parameters, axis, precision, z, work, comp):
    """Fills rows G0, G1 of work with s_p − s_q of the joint density; q separates into its two axes."""
    for k in range(parameters.shape[1]):
        comp[_SCALE, k] = -_LOG2_E * (parameters[_LOG0, k] + parameters[_LOG1, k])
    for n in range(z.size):
        k = z[n]
        work[_X0, n] = parameters[_MU0, k] + comp[_L0, k] * work[_E0, n]
        work[_X1, n] = parameters[_MU1, k] + parameters[_OFF, k] * work[_E0, n] + comp[_L1, k] * work[_E1, n]
        for row in (_SUM, _NUM0, _NUM1, _G0, _G1):
            work[row, n] = _ZERO
    for k in range(parameters.shape[1]):
        m0, m1, c, w = parameters[_MU0, k], parameters[_MU1, k], parameters[_OFF, k], comp[_SCALE, k]
        r0, r1 = _ONE / comp[_L0, k], _ONE / comp[_L1, k]
        for n in range(z.size):
            y0 = r0 * (work[_X0, n] - m0)  # y = L⁻¹(x − μ), Σ⁻¹(x − μ) = L⁻ᵀy
            y1 = r1 * (work[_X1, n] - m1 - c * y0)
            u1 = r1 * y1
            e = exp2(w - _HALF_LOG2_E * (y0 * y0 + y1 * y1))
            work[_SUM, n] += e
            work[_NUM0, n] += e * (r0 * (y0 - c * u1))
            work[_NUM1, n] += e * u1
    for n in range(z.size):
        work[_G0, n] -= work[_NUM0, n] / work[_SUM, n]
        work[_G1, n] -= work[_NUM1, n] / work[_SUM, n]
    reach = axis[axis.size - 1]
    _target_score(work[_X0], axis, precision, reach, work[_FAR], work[_SUM], work[_NUM0], work[_G0])
    _target_score(work[_X1], axis, precision, reach, work[_FAR], work[_SUM], work[_NUM0], work[_G1])


@njit(**_fast)
def add_gradient(parameters, axis, target_precision, joint, a0, a1, samples, z, work, comp, total, gradient):
    """Fills gradient (5, K) for the noise in work and z: path derivative of Σ_k mean_{z_n=k}[log p − log q]/K.

    parameters, gradient: (5, K), rows PARAMETER_ROWS. axis: (√M,) ascending, symmetric grid line of q.
    joint: match the joint density, else the marginal of aᵀx, |a| = 1. z: (P,) int32, of which the first
    `samples` count. work: (SAMPLE_ROWS, P); comp: (COMPONENT_ROWS, K);
    total: (K, ACCUMULATOR_COLUMNS).
    """
    components = parameters.shape[1]
    for k in range(components):
        comp[_L0, k] = exp2(_LOG2_E * parameters[_LOG0, k])
        comp[_L1, k] = exp2(_LOG2_E * parameters[_LOG1, k])
    if joint:
        _joint_scores(parameters, axis, target_precision, z, work, comp)
    else:
        _marginal_scores(parameters, axis, target_precision, a0, a1, z, work, comp)
    total[:] = _ZERO
    for n in range(samples):
        g0, g1, e0 = work[_G0, n], work[_G1, n], work[_E0, n]
        row = total[z[n]]
        row[0] += g0
        row[1] += g1
        row[2] += g0 * e0
        row[3] += g1 * work[_E1, n]
        row[4] += g1 * e0
        row[5] += _ONE
    for k in range(components):
        count = total[k, 5]
        w = _ZERO if count == _ZERO else _ONE / (_f(components) * count)
        gradient[_MU0, k] = w * total[k, 0]
        gradient[_MU1, k] = w * total[k, 1]
        gradient[_LOG0, k] = w * total[k, 2] * comp[_L0, k]
        gradient[_LOG1, k] = w * total[k, 3] * comp[_L1, k]
        gradient[_OFF, k] = w * total[k, 4]


@njit(**_fast)
def _descend_step(parameters, gradient, learning_rate, limit, floor, ceiling):
    """Number of limited entries after θ ← clip(θ − lr·clip(gradient, ±limit)); log-diagonals stay in [floor, ceiling].

    Comparisons are written so that NaN passes through and surfaces.
    """
    limited = 0
    for row in range(5):
        for k in range(parameters.shape[1]):
            g = gradient[row, k]
            if abs(g) > limit:
                limited += 1
                g = limit if g > _ZERO else -limit
            value = parameters[row, k] - learning_rate * g
            if row in (_LOG0, _LOG1):
                if value < floor:
                    limited += 1
                    value = floor
                elif value > ceiling:
                    limited += 1
                    value = ceiling
            parameters[row, k] = value
    return limited


@njit(nogil=True, **_fast)
def descend(
    parameters, seed, learning_rates, joint_probabilities, first, last, inner, samples, axis, precision, bounds
):
    """(limited entries, joint tasks) of outer iterations [first, last); parameters (5, K) change in place.

    seed: root of every random stream; an iteration's draws depend on (seed, its number) alone, so any
    split of the range gives the same result. learning_rates, joint_probabilities: (O,) per outer iteration.
    inner: steps per task. axis, precision: of q, see add_gradient. bounds: (3,) float32 gradient limit, floor
    and ceiling of the log-diagonals. Releases the GIL: run seeds in threads.
    """
    components = parameters.shape[1]
    padded = (samples + LANES - 1) // LANES * LANES
    work = np.zeros((SAMPLE_ROWS, padded), np.float32)
    comp = np.zeros((COMPONENT_ROWS, components), np.float32)
    total = np.zeros((components, ACCUMULATOR_COLUMNS), np.float32)
    gradient = np.zeros((5, components), np.float32)
    z = np.zeros(padded, np.int32)
    key_task, key_direction = stream_key(seed, STREAM_TASK), stream_key(seed, STREAM_DIRECTION)
    key_normal, key_component = stream_key(seed, STREAM_NORMAL), stream_key(seed, STREAM_COMPONENT)
    limited, joint_tasks = 0, 0
    for outer in range(first, last):
        joint = uniform(hash64(key_task, np.uint64(outer))) < joint_probabilities[outer]
        turn = 2.0 * math.pi * uniform(hash64(key_direction, np.uint64(outer)))
        a0, a1 = np.float32(math.cos(turn)), np.float32(math.sin(turn))
        joint_tasks += joint
        for i in range(inner):
            draw_noise(key_normal, key_component, outer * inner + i, components, work, z)
            add_gradient(parameters, axis, precision, joint, a0, a1, samples, z, work, comp, total, gradient)
            limited += _descend_step(parameters, gradient, learning_rates[outer], bounds[0], bounds[1], bounds[2])
    return limited, joint_tasks


@njit(**_fast)
def start_parameters(seed, components, mean, spread):
    """(5, K) float32 start: μ = mean + spread·N(0, I), L = I."""
    parameters = np.zeros((5, components), np.float32)
    key = stream_key(seed, STREAM_START)
    for k in range(components):
        n0, n1 = normal_pair(hash64(key, np.uint64(k)))
        parameters[_MU0, k] = mean + spread * n0
        parameters[_MU1, k] = mean + spread * n1
    return parameters
