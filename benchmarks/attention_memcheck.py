"""Every attention and loss kernel once on small awkward shapes, for compute-sanitizer --tool memcheck.

compute-sanitizer --tool memcheck python -m benchmarks.attention_memcheck
"""

from __future__ import annotations

import torch

from benchmarks import attention_sides as sides
from benchmarks.losses import losses, make_inputs, with_gradients


def main() -> None:
    """Runs a tile shape, a block shape and the losses; prints a checksum of each."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    for shape in ((3, 2, 50, 32), (2, 2, 131, 64)):
        problem = sides.make_problem(*shape, 0.9, dtype, device)
        second = sides.orders(sides.ours(problem), problem.qkv, problem.gradient, problem.cotangent)[2]()
        print(shape, [round(float(x.float().abs().sum()), 2) for x in second])
    found = with_gradients(lambda x: losses(x, "auto"), make_inputs(300, device))()
    print("losses", found[0].item())


if __name__ == "__main__":
    main()
