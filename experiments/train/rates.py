"""The matrix products' rate of this device: the ceiling that a share of it (MFU) is taken of."""

import torch

from experiments.train.clock import spread, timed


def product_flops(device: str, dtype: torch.dtype, tries: int = 7) -> float:
    """FLOP a second of square products of random data, median of the tries after one that is not
    timed."""
    side = 8192 if device.startswith("cuda") else 768
    left, right = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    took = [timed(lambda: left @ right, device) for _ in range(tries + 1)]
    return 2.0 * side**3 / spread(took[1:])[0]
