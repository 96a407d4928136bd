"""Train in float32 with the rounding of bfloat16, to measure on any CPU how ``precision=bf16-mixed`` affects accuracy.

    python benchmarks/bf16.py experiment=cpu_300w paths.data_dir=DIR dataset.allow_partial=true

Takes the arguments of ``src/train.py``. Every convolution's input, weights and output, every output of a normalisation,
and the gradients of all of them, are rounded to bfloat16; the arithmetic is in float32. This is what bf16-mixed does on
a CPU that has bfloat16 (products are summed in float32 there, too), but as fast as float32 allows.
"""

import runpy
from pathlib import Path

import torch
from torch import Tensor, nn


class Round(torch.autograd.Function):
    """Round a tensor to bfloat16, and in the backward pass its gradient."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, values: Tensor) -> Tensor:
        return values.bfloat16().float()

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return gradient.bfloat16().float()


def main() -> None:
    convolve, normalise = nn.Conv2d._conv_forward, nn.BatchNorm2d.forward

    def convolve_rounded(self: nn.Conv2d, image: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return Round.apply(convolve(self, Round.apply(image), Round.apply(weight), bias))

    nn.Conv2d._conv_forward = convolve_rounded  # type: ignore[method-assign]
    nn.BatchNorm2d.forward = lambda self, image: Round.apply(normalise(self, image))  # type: ignore[method-assign]
    runpy.run_path(str(Path(__file__).parents[1] / "src" / "train.py"), run_name="__main__")


if __name__ == "__main__":
    main()
