"""Every attention and loss kernel once on small awkward shapes, for compute-sanitizer --tool memcheck.

compute-sanitizer --tool memcheck python -m benchmarks.attention_memcheck
"""

from __future__ import annotations

import torch

from benchmarks import attention_sides as sides
from benchmarks.losses import losses, make_inputs, with_gradients


def main() -> None:
    """Runs a tile shape and a block shape, causal too and forward, and the losses; prints a checksum of each."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    for shape in ((3, 2, 50, 32), (2, 2, 131, 64)):
        problem = sides.make_problem(*shape, 0.9, dtype, device)
        second = sides.orders(sides.ours(problem), problem.qkv, problem.gradient, problem.cotangent)[2]()
        print(shape, [round(float(x.float().abs().sum()), 2) for x in second])
    for shape in ((2, 2, 50, 32), (1, 2, 131, 64)):
        problem = sides.make_problem(*shape, 1.0, dtype, device, causal=True)
        second = sides.orders(sides.ours(problem), problem.qkv, problem.gradient, problem.cotangent)[2]()
        print(
            "causal", shape, [round(float(x.float().abs().sum()), 2) for x in (*second, *sides.forward_mode(problem)())]
        )
    found = with_gradients(lambda x: losses(x, "auto"), make_inputs(300, device))()
    print("losses", found[0].item())


if __name__ == "__main__":
    main()
