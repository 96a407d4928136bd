"""One GPU for each worker process of a sweep on one machine."""

import os
import tempfile
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from awing.errors import ConfigError

_held: FileLock | None = None  # this process's lock, open until it ends


def claim_gpu(workers: int) -> None:
    """Give this process a GPU that no other one of its user's sweeps holds, for its life; before CUDA starts.

    The lock of a device is a file below the temporary folder, so that a worker that dies frees its device. Job numbers
    cannot stand for devices: as soon as two jobs differ in length, two that share a device run at the same time.

    Args:
        workers: How many processes will claim one.

    Raises:
        ConfigError: more workers than devices, or other sweeps hold them.
    """
    global _held
    devices = visible_gpus()
    if _held or not devices:
        return
    if not 1 <= workers <= len(devices):
        raise ConfigError(
            f"hydra.launcher.n_jobs={workers} for {len(devices)} GPUs ({', '.join(devices)}): each worker holds one; "
            f"set hydra.launcher.n_jobs to {len(devices)} or less"
        )
    for device in devices:
        of_job = os.environ.get("SLURM_JOB_ID", "")  # each job of a cluster may call its first device 0
        lock = FileLock(Path(tempfile.gettempdir(), f"awing-{os.getuid()}-{of_job}-gpu-{device}.lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        os.environ["CUDA_VISIBLE_DEVICES"] = device
        _held = lock
        return
    raise ConfigError(
        f"none of the GPUs {', '.join(devices)} is free: other sweeps hold them. Wait for those, or set "
        "CUDA_VISIBLE_DEVICES to others"
    )


def visible_gpus() -> list[str]:
    """The GPUs that may be used, as CUDA_VISIBLE_DEVICES names them; without it, all."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return [str(i) for i in range(torch.cuda.device_count())]
    return [device.strip() for device in named.split(",") if device.strip() not in ("", "-1")]
