"""What the system does to a run, in a sentence: full disks, loading processes that die or hang, ranks that are gone."""

import errno
import multiprocessing
import os
import re
import signal
import sys
import threading
import time

import torch
from torch.distributed import DistError

from awing.errors import AwingError, DataError

UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES)
LOST = re.compile("[Cc]onnection (closed|reset)|[Bb]roken pipe|remote process|[Tt]imed out|[Tt]imeout|abort")
GRACE = 10  # seconds that a process has to end by itself, with a reason of its own


def explain(error: Exception) -> Exception:
    """An error of a disk, a loading process or a lost rank as a sentence; any other as it is.

    >>> print(explain(RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. ")))  # doctest: +ELLIPSIS
    a process that loads samples (pid 7) was killed, as the system does when memory runs out: ...
    """
    if isinstance(error, OSError) and error.errno in UNWRITABLE:
        return AwingError(
            f"{error.filename or 'a file of the output folder'}: {error.strerror}. Mend the cause and try again; a "
            "training's checkpoints are good, and it goes on with resume=auto and the same output"
        )
    text = str(error).strip().partition("\n")[0]
    if type(error).__module__.startswith("wandb."):
        return AwingError(f"Weights & Biases says: {text} Without an account or network: logger.wandb.offline=true")
    if isinstance(error, torch.OutOfMemoryError):
        return AwingError(
            f"the device has not enough memory ({text[:200]}): give less data.batch_size, or micro-batches with "
            "trainer.accumulate_grad_batches, or trainer.precision=bf16-mixed; look whether another process holds it"
        )
    if worker := re.match(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) (?:is killed by signal: ([\w ]+))?", text):
        pid, cause = worker.groups()
        if cause == "Bus error":
            return DataError(
                f"a process that loads samples (pid {pid}) had no shared memory left: enlarge /dev/shm (docker run "
                "--shm-size=8g), or give less data.num_workers or data.batch_size"
            )
        if cause == "Killed":
            return DataError(
                f"a process that loads samples (pid {pid}) was killed, as the system does when memory runs out: give "
                "less data.num_workers, or the job more memory"
            )
        if cause in ("Segmentation fault", "Aborted"):
            return DataError(
                f"a process that loads samples (pid {pid}) crashed ({cause}), perhaps on a picture: data.num_workers=0 "
                "and HYDRA_FULL_ERROR=1 show where"
            )
        return DataError(f"a process that loads samples (pid {pid}) was ended from outside ({cause or 'no signal'})")
    if timeout := re.match(r"DataLoader timed out after ([\d.]+) seconds", text):
        return DataError(
            f"no sample came for {timeout[1]} s from the processes that load them: is the storage of the images stuck? "
            "Where it is only slow, give more with dataset.worker_timeout"
        )
    if "gloo/transport" in text or (isinstance(error, DistError) and LOST.search(text)):
        text = re.sub(r"^\[.*?\] |\. This is typically.*", "", text)  # gloo's
        return AwingError(f"another process of this run is gone or stuck; what it said itself tells why ({text})")
    if isinstance(error, DistError):
        return AwingError(f"the connection of this run's processes failed: {' '.join(str(error).split())[:1000]}")
    return error


def kill_workers() -> None:
    """End the loading processes for good: this one waits for them when it ends, and one that hangs hears no less."""
    handler = signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's would find that a worker was killed
    for worker in multiprocessing.active_children():
        worker.kill()
        worker.join()
    signal.signal(signal.SIGCHLD, handler)


def end_with_parent() -> None:
    """End this process when the one that started it is gone: a GPU waits half an hour for a rank that is lost."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        time.sleep(GRACE)
        print(f"error: process {parent}, which started this one ({os.getpid()}), is gone", file=sys.stderr, flush=True)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
