"""Cost of a training step compared with its network alone: forward and backward without the optimiser, on the CPU.

    python benchmarks/step.py [--rounds 40] [--threads 2] [--size small full]

* network: the network alone, whose loss is the sum of its outputs' means.
* mse: a training step with the squared error and the dilated weight map: target maps, weight, loss, and the squared
  errors that training logs.
* awing: the same with the Adaptive Wing loss.

The variants take turns, so that other load on the machine affects all of them; each ratio is the median of the rounds'
ratios. Freed memory is kept by the process, as in a real training: glibc's defaults would give maps of several
megabytes back to the system at every step, and their page faults would be counted as cost of the loss.
"""

import argparse
import os
import statistics
import sys
import time
import warnings

KEEP = {"MALLOC_MMAP_THRESHOLD_": str(4 << 30), "MALLOC_TRIM_THRESHOLD_": str(4 << 30)}
SIZES = {  # stacks, channels, input px, batch; bars: awing / network, awing / mse
    "small": ((2, 96, 128, 16), (1.10, 1.02)),
    "full": ((4, 256, 256, 2), (1.02, 1.02)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--size", nargs="+", choices=SIZES, default=list(SIZES))
    arguments = parser.parse_args()
    if any(os.environ.get(name) != value for name, value in KEEP.items()):  # read when a process starts
        os.execve(
            sys.executable, [sys.executable, *sys.argv], os.environ | KEEP | {"OMP_NUM_THREADS": str(arguments.threads)}
        )
    import torch

    torch.set_num_threads(arguments.threads)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, median of {arguments.rounds} rounds")
    for name in arguments.size:
        shape, bars = SIZES[name]
        seconds = measure(*shape, arguments.rounds)
        print("{}: {} stacks, {} channels, {} px, batch {}".format(name, *shape))
        for way, values in seconds.items():
            print(f"  {way:8} {1e3 * statistics.median(values):8.1f} ms")
        for other, bar in zip(("network", "mse"), bars, strict=True):
            ratio = statistics.median(a / b for a, b in zip(seconds["awing"], seconds[other], strict=True))
            print(f"  awing / {other:8} {ratio:.3f}, at most {bar:.2f}: {'met' if ratio <= bar else 'missed'}")


def measure(stacks: int, channels: int, size: int, batch: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of each variant in each round."""
    import torch

    from awing.codec import HeatmapCodec
    from awing.losses import AdaptiveWingLoss, MSELoss, dilated_weight_map
    from awing.models import StackedHourglass
    from awing.regressor import LandmarkRegressor

    torch.manual_seed(0)
    warnings.filterwarnings("ignore", message="You are trying to `self.log")  # there is no trainer
    network = StackedHourglass(68, stacks, channels)
    codec = HeatmapCodec("ibug68", size, size // 4)
    regressors = {
        name: LandmarkRegressor(network, codec, loss, dilated_weight_map, ["inter_ocular"], [])
        for name, loss in (("mse", MSELoss()), ("awing", AdaptiveWingLoss()))
    }
    faces = {
        "image": torch.randint(0, 256, (batch, 3, size, size), dtype=torch.uint8),
        "points": torch.rand(batch, 68, 2) * size,
        "labelled": torch.ones(batch, 68, dtype=torch.bool),
    }
    losses = {
        "network": lambda: sum(maps.mean() for maps in regressors["mse"](faces["image"])),
        "mse": lambda: regressors["mse"].training_step(faces, 0),
        "awing": lambda: regressors["awing"].training_step(faces, 0),
    }
    seconds: dict[str, list[float]] = {name: [] for name in losses}
    for i in range(rounds + 3):  # three to warm up
        for name, loss in losses.items():
            network.zero_grad()
            start = time.perf_counter()
            loss().backward()
            if i >= 3:
                seconds[name].append(time.perf_counter() - start)
    return seconds


if __name__ == "__main__":
    main()
