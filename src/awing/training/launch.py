"""Command lines: compose the configuration with Hydra, lock the run's folder, report user errors in one sentence."""

import logging
import multiprocessing
import os
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import hydra
from filelock import FileLock, Timeout
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from hydra.utils import get_method
from omegaconf import DictConfig, OmegaConf

from awing.errors import AwingError, ConfigError, exit_on_user_error

log = logging.getLogger(__name__)
NOISE = ("`isinstance.treespec", "Checkpoint directory .* exists", "The `srun` command is available")
CONF = Path(__file__).resolve().parents[3] / "conf"
START = time.time()
_gpu_lock: FileLock | None = None  # of this process, held until it ends


def run_command(config_name: str, function: str) -> None:
    """Call a function of (configuration, output folder), given by its dotted name, with a root config in ``conf/``.

    The folder is locked meanwhile. A user error is printed as one sentence and exits with 1, as does a function that
    returns False; HYDRA_FULL_ERROR=1 shows the traceback. A job of a sweep that fails leaves ``error.txt`` in its
    folder, and the others continue.
    """

    def job(cfg: DictConfig) -> Any:
        work = get_method(function)  # imported here: DataLoader workers, which import the script, do not need it
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            result = _sweep_job(work, cfg)
        else:
            with exit_on_user_error(), lock_run_dir(output := output_dir(cfg)):
                result = work(cfg, output)
        if result is False:
            sys.exit(1)
        return result.get("val_nme_best") if isinstance(result, dict) else None  # what a sweeper minimises

    for message in NOISE:
        warnings.filterwarnings("ignore", message)
    if constant := _constant_keys(sys.argv[1:]):
        sys.argv.append(f"hydra.job.config.override_dirname.exclude_keys=[{','.join(constant)}]")
    hydra.main(config_path=str(CONF), config_name=config_name, version_base="1.3")(job)()


class SweepTable(Callback):
    """Hydra callback that ends a sweep with a table of its jobs, and with exit status 1 if one of them failed."""

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        from rich import print
        from rich.table import Table

        from awing.report.runs import load_runs

        sweep, jobs = Path(config.hydra.sweep.dir), Table("job", "state", "best val NME %", "test NME %", box=None)
        runs, evaluations, _problems = load_runs(sweep)
        for run in [*runs, *evaluations]:
            tested = run.results["subsets"]["full"]["nme"] if run.results else {}
            nmes = [run.get("results.val_nme_best"), *tested.values()][:2]
            jobs.add_row(run.folder, run.status, *("" if nme is None else f"{100 * nme:.2f}" for nme in nmes))
        if jobs.row_count:
            print(jobs, f"jobs are in {sweep}; the same command with resume=auto goes on with what is unfinished")
        failed = [file for file in sorted(sweep.rglob("*error.txt")) if file.stat().st_mtime >= START]
        if failed:
            lines = [f"  {file.relative_to(sweep)}: {file.read_text().splitlines()[0]}" for file in failed]
            sys.exit("\n".join([f"error: {len(failed)} of the jobs failed:", *lines]))


def output_dir(cfg: DictConfig) -> Path:
    """The run's folder, for all its processes; a ConfigError if its name is a time stamp but must be found again."""
    named_by_now = HydraConfig.get().run.dir == cfg.output and "${now:" in str(cfg._get_node("output")._value())  # type: ignore[union-attr]
    tasks = int(os.environ.get("SLURM_NTASKS" if "SLURM_PROCID" in os.environ else "WORLD_SIZE", "1"))
    requeued = HydraConfig.get().mode == RunMode.RUN and int(os.environ.get("SLURM_RESTART_COUNT", "0"))
    if named_by_now and (tasks > 1 or requeued or cfg.get("resume") == "auto"):
        raise ConfigError("several tasks, or a run that goes on, must find the folder again: name it with output=DIR")
    return Path(HydraConfig.get().runtime.output_dir)


@contextmanager
def lock_run_dir(output: Path) -> Iterator[None]:
    """Lock a folder: another command there raises a ConfigError; the processes of one run enter it together."""
    from pytorch_lightning.utilities import rank_zero_only

    try:
        with FileLock(output / ".lock", timeout=0) if rank_zero_only.rank == 0 else nullcontext():  # type: ignore[attr-defined]
            yield
    except Timeout:
        raise ConfigError(f"another process runs in {output}: wait for it, end it, or choose another output") from None


def reserve_gpu(workers: int) -> None:
    """Reserve one free GPU for a sweep's worker, for its lifetime, before CUDA starts; a ConfigError if none is free.

    A GPU's lock is a file lock, which the system releases if the worker dies. GPUs are not chosen by job number: jobs
    of different length would share one.
    """
    import torch

    global _gpu_lock
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(torch.cuda.device_count()))))
    gpus = [gpu.strip() for gpu in visible.split(",") if gpu.strip() not in ("", "-1")]
    if _gpu_lock or not gpus:
        return
    for gpu in gpus if 1 <= workers <= len(gpus) else []:
        lock = FileLock(Path(tempfile.gettempdir(), f"awing-{os.getuid()}-{os.environ.get('SLURM_JOB_ID')}-{gpu}.lock"))
        with suppress(Timeout):
            lock.acquire(timeout=0)
            os.environ["CUDA_VISIBLE_DEVICES"], _gpu_lock = gpu, lock
            return
    raise ConfigError(f"{workers} workers for the GPUs {visible}: set hydra.launcher.n_jobs to the number of free ones")


def _sweep_job(work: Callable[[DictConfig, Path], Any], cfg: DictConfig) -> Any:
    output = Path(HydraConfig.get().runtime.output_dir)
    error_file = output.with_name(f"{output.name}.error.txt")  # beside the folder, if the job must not change that
    try:
        with lock_run_dir(output):
            (output / "error.txt").unlink(missing_ok=True)  # of an earlier attempt
            if not (output / "test" / "metrics.json").exists():
                error_file = output / "error.txt"
            output_dir(cfg)
            _prepare_worker(cfg)
            return work(cfg, output)
    except Exception as error:
        log.error("%s failed: %s", output, error)
        reason = f"{error}\n"
        if not isinstance(error, AwingError):
            reason = f"{type(error).__name__}: {error}\n\n{traceback.format_exc()}\n"
        error_file.write_text(reason)
        if error_file.parent == output and not (output / "config.yaml").exists():
            OmegaConf.save(cfg, output / "config.yaml")
        return None  # Hydra continues; SweepTable exits with status 1


def _prepare_worker(cfg: DictConfig) -> None:
    if any(OmegaConf.select(cfg, f"trainer.{key}", default=1) != 1 for key in ("devices", "num_nodes")):
        raise ConfigError("a job of a sweep is one process with one device: leave trainer.devices at 1")
    launcher = HydraConfig.get().launcher
    if "JoblibLauncher" in launcher._target_:
        # otherwise loky's workers would start DataLoader workers by loky's method
        multiprocessing.set_start_method(None, force=True)
        if OmegaConf.select(cfg, "trainer.accelerator", default="cpu") != "cpu":
            reserve_gpu(launcher.n_jobs)


def _constant_keys(words: list[str]) -> list[str]:
    """Keys with a single value in a sweep's command line; job folders are named by the other keys."""
    if not {"-m", "--multirun"} & set(words):
        return []
    with suppress(OverrideParseException):  # Hydra reports it itself
        overrides = OverridesParser.create().parse_overrides([word for word in words if "=" in word and word[0] != "-"])
        return [override.key_or_group for override in overrides if not override.is_sweep_override()]
    return []
