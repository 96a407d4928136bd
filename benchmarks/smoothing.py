"""Jitter and lag of predict's smooth=true, on a face of 200 px at 25 and 30 frames per second.

    python benchmarks/smoothing.py [MIN_CUTOFF BETA SPEED_CUTOFF]

Noise is independent in every frame and coordinate (standard deviation 0.5 and 1 px). Jitter: ratio of the smoothed to
the raw standard deviation of a still face's points, in the second half of 8 s; likewise of the change between frames.
Lag: delay in frames behind a face that moves evenly, or swings; for a swing, the time shift that fits best.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from awing.inference import aligner

SIDE, SECONDS = 200.0, 8


def main() -> None:
    if len(sys.argv) > 1:
        aligner.MIN_CUTOFF, aligner.BETA, aligner.SPEED_CUTOFF = map(float, sys.argv[1:])
    print(f"min_cutoff {aligner.MIN_CUTOFF}, beta {aligner.BETA}, speed cutoff {aligner.SPEED_CUTOFF}")
    for rate in (25.0, 30.0):
        time = np.arange(int(SECONDS * rate)) / rate
        for noise in (0.5, 1.0):
            raw, smooth = follow(np.zeros_like(time), rate, noise)
            half = len(time) // 2
            still = smooth[half:].std(0).mean() / raw[half:].std(0).mean()
            change = np.diff(smooth[half:], axis=0).std(0).mean() / np.diff(raw[half:], axis=0).std(0).mean()
            print(f"{rate:.0f}/s, noise {noise} px: jitter {still:.2f} of the raw, from frame to frame {change:.2f}")
            for speed in (10.0, 25.0, 50.0, 100.0, 400.0):
                _, smooth = follow(speed * time, rate, noise)
                lag = (speed * time[half:, None] - smooth[half:]).mean() / speed * rate
                print(f"    even, {speed:.0f} px/s: lag {lag:.2f} frames")
            for swing in (0.5, 1.0):
                path = 30 * np.sin(2 * np.pi * swing * time)
                _, smooth = follow(path, rate, noise)
                shifts = np.arange(0, 5, 0.05)
                late = [np.interp(time - shift / rate, time, path)[half:, None] for shift in shifts]
                errors = [np.abs(smooth[half:] - x).mean() for x in late]
                print(f"    swing of 30 px, {swing} Hz: lag {shifts[int(np.argmin(errors))]:.2f} frames")


def follow(path: np.ndarray, rate: float, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Coordinate x of 68 points of a face that moves along x: with noise, and smoothed; (frames, 68) each."""
    rng, smoother = np.random.default_rng(0), aligner.Smoother(rate)
    raw, smooth = [], []
    for i, x in enumerate(path):
        points = rng.normal(0, noise, (1, 68, 2)) + np.array([x, 0.0])
        box = np.array([[x, 0.0, x + SIDE, SIDE]])
        raw.append(points[0, :, 0])
        smooth.append(smoother(aligner.Landmarks(points, np.ones((1, 68)), box), i / rate).points[0, :, 0])
    return np.array(raw), np.array(smooth)


if __name__ == "__main__":
    main()
