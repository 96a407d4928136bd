"""Run an entry point so that a mistake ends in a sentence, not in a traceback."""

import hashlib
import logging
import multiprocessing
import os
import re
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from awing.errors import AwingError, ConfigError, FolderInUse, JobError, did_you_mean, exit_on_user_error

log = logging.getLogger(__name__)


def run(main: Callable[[], None], config_dir: Path, config_name: str) -> None:
    """Call a ``hydra.main`` function; print known errors with the nearest valid name and exit with 1.

    Set HYDRA_FULL_ERROR=1 for tracebacks.
    """
    if int(os.environ.get("LOCAL_RANK", "0")) > 0:
        from awing import faults

        faults.end_with_parent()
    for message in (
        "`isinstance.treespec, LeafSpec.` is deprecated",  # Lightning's own affair
        "Experiment logs directory",  # a run's folder holds config.yaml before the CSV logger starts
        "Checkpoint directory .* exists and is not empty",  # a resumed run goes on in its folder
        "The `srun` command is available",  # on a cluster's login node, say
    ):
        warnings.filterwarnings("ignore", message=message)
    # processes that a launcher starts find this package and these resolvers, installed or not
    folders = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(folders)
    OmegaConf.register_new_resolver("folder_name", partial(folder_name, given=sys.argv[1:]))
    if os.environ.get("HYDRA_FULL_ERROR") == "1" and not _in_sentences():
        main()
        return
    start = time.time()
    with exit_on_user_error():
        # Hydra then raises its errors instead of printing them; processes that this one starts are told who asked
        os.environ |= {"HYDRA_FULL_ERROR": "1", "AWING_IN_SENTENCES": "1"}
        try:
            main()
        except JobError as error:
            _print_jobs(error.folder.parent)
            sys.exit(f"error: {_failures(error.folder.parent, start)}")
        except (HydraException, OmegaConfBaseException) as error:
            sys.exit(f"error: {error}\n{_nearest(error, config_dir, config_name).strip()}".rstrip())


def job(work: Callable[[DictConfig, Path], Any], cfg: DictConfig) -> Any:
    """Do a job's work in its folder; where a sweep's job fails, leave the reason there as ``error.txt``.

    Raises:
        SystemExit: a known error outside a sweep, said before Hydra can put words of its own before it.
        JobError: a job of a sweep failed. The others go on.
    """
    from awing import faults
    from awing.training import devices  # here: a mistake on the command line is answered without loading torch

    multiprocessing.set_start_method(None, force=True)  # joblib's workers would start every process its own way
    hydra = HydraConfig.get()
    folder, in_sweep = Path(hydra.runtime.output_dir), hydra.mode == RunMode.MULTIRUN
    try:
        output = output_folder(cfg)
        on_gpu = OmegaConf.select(cfg, "trainer.accelerator", default="cpu") != "cpu"
        if in_sweep and on_gpu and "JoblibLauncher" in hydra.launcher._target_:
            devices.claim_gpu(hydra.launcher.n_jobs)
        of_loss = any(word.startswith("loss.") for word in hydra.overrides.task)
        if in_sweep and of_loss and OmegaConf.select(cfg, "report.table", default="none") is None:
            log.warning(
                "%s is not of the protocol of the paper's Tables 5 and 6 (crop=%s; theirs is landmarks), and a report "
                "puts it into no table: for these use experiment=table5 or table6", folder, cfg.dataset.crop,
            )  # fmt: skip
        with lock_run_dir(output):
            (folder / "error.txt").unlink(missing_ok=True)  # of an earlier try
            return work(cfg, output)
    except Exception as caught:
        error = faults.explain(caught)
        if not in_sweep:
            if _in_sentences() and isinstance(error, AwingError):
                sys.exit(f"error: {_rank()}{error}")
            if error is caught:
                raise
            raise error from caught
        _write_error(folder, error, cfg)
        log.error("%s failed: %s", folder, error)
        raise JobError(folder) from None  # of plain parts, since it travels between processes


class SweepTable(Callback):
    """Ends a sweep with a table of its jobs; ``conf/hydra/default.yaml`` names it."""

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        _print_jobs(Path(config.hydra.sweep.dir))


def folder_name(overrides: Sequence[str], given: Sequence[str]) -> str:
    """The folder of a sweep's job: what varies among its overrides, or "0" where nothing does.

    Args:
        overrides: The job's.
        given: The command line; what has one value there does not vary.

    >>> folder_name(["loss.omega=10", "seed=1", "output=runs/a"], ["loss.omega=10,12", "seed=0,1", "output=runs/a"])
    'loss.omega-10_seed-1'
    """
    words = OverridesParser.create().parse_overrides([word for word in given if re.match(r"[\w+~@][\w+~@/.-]*=", word)])
    constant = {word.key_or_group for word in words if not word.is_sweep_override()}
    varied = "_".join(w.lstrip("+").replace("=", "-") for w in overrides if w.lstrip("+").split("=")[0] not in constant)
    name = re.sub(r"[^\w.+-]", "_", varied)[:160]  # paths and lists, say
    if name != varied:
        name += f"-{hashlib.sha256(varied.encode()).hexdigest()[:8]}"
    return name or "0"


def output_folder(cfg: DictConfig) -> Path:
    """The folder of this job, the same for every process of it.

    Raises:
        ConfigError: a sweep job of several devices; a folder of the moment for several tasks, or to resume in.
    """
    from awing.training import slurm

    hydra = HydraConfig.get()
    one_each = all(OmegaConf.select(cfg, f"trainer.{key}", default=1) == 1 for key in ("devices", "num_nodes"))
    if hydra.mode == RunMode.MULTIRUN and not one_each:
        raise ConfigError(
            "a sweep job is one process with one device: leave trainer.devices and trainer.num_nodes at 1, or train "
            "value by value without -m"
        )
    of_now = "${now:" in str(OmegaConf.to_container(cfg)["output"]) and hydra.run.dir == cfg.output  # type: ignore[index, call-overload]
    # a sweep's job that SLURM starts again was given its folder with its configuration
    if of_now and (cfg.get("resume") == "auto" or (hydra.mode == RunMode.RUN and slurm.restarted())):
        raise ConfigError("resume=auto needs the folder of the run: output=DIR")
    tasks = int(os.environ.get("SLURM_NTASKS" if "SLURM_PROCID" in os.environ else "WORLD_SIZE", "1"))
    if tasks > 1 and of_now:
        raise ConfigError(f"{tasks} tasks start at different seconds: name one folder for all of them with output=DIR")
    return Path(hydra.runtime.output_dir)


@contextmanager
def lock_run_dir(output: Path) -> Iterator[None]:
    """Keep other commands out of the folder; the processes of one job enter it together."""
    from pytorch_lightning.utilities import rank_zero_only

    lock = FileLock(output / ".lock")
    if rank_zero_only.rank == 0:  # type: ignore[attr-defined]
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise FolderInUse(
                f"another process runs in {output}: wait for it, end it, or choose another output"
            ) from None
    try:
        yield
    finally:
        lock.release()


def _in_sentences() -> bool:
    """Whether errors end in a sentence, in this process and those that it starts."""
    return "AWING_IN_SENTENCES" in os.environ


def _rank() -> str:
    """Whose message it is, where a run has several processes."""
    from pytorch_lightning.utilities import rank_zero_only

    several = {"LOCAL_RANK", "SLURM_PROCID"} & os.environ.keys()
    return f"rank {rank_zero_only.rank}: " if several else ""  # type: ignore[attr-defined]


def _write_error(output: Path, error: Exception, cfg: DictConfig) -> None:
    """Leave ``error.txt``: the message of an error that this package raised, type and traceback of any other.

    A run that another process trains, or that is finished, has not failed. ``config.yaml`` says what was asked for.
    """
    if isinstance(error, FolderInUse) or (output / "test" / "metrics.json").exists():
        return
    text = str(error) if isinstance(error, AwingError) else f"{type(error).__name__}: {error}"
    if not isinstance(error, AwingError):
        text += f"\n\n{''.join(traceback.format_exception(error))}"
    output.mkdir(parents=True, exist_ok=True)
    (output / "error.txt").write_text(f"{text}\n")
    if not (output / "config.yaml").exists():
        with suppress(OmegaConfBaseException):
            OmegaConf.save(cfg, output / "config.yaml", resolve=True)


def _print_jobs(sweep: Path) -> None:
    """A line for each run and evaluation in a sweep's folder, those of earlier commands included."""
    from rich import box, console, table

    from awing.report.runs import load_runs, lookup

    runs, evaluations, _ = load_runs(sweep)
    jobs = table.Table("job", "state", "best val NME %", "NME %", box=box.SIMPLE)
    for run in runs + evaluations:
        split, best, errors = (
            lookup(run.results, key) for key in (["split"], ["val_nme_best"], ["subsets", "full", "nme"])
        )
        tested = [f"{split} {100 * nme:.2f} by {name}" for name, nme in (errors or {}).items()]
        state = run.status if run.config else "evaluated"
        jobs.add_row(run.folder, state, "" if best is None else f"{100 * best:.2f}", *tested[:1])
    if jobs.rows:
        console.Console().print(jobs)
        print(f"jobs are in {sweep}; the same command with resume=auto goes on with what is unfinished")


def _failures(sweep: Path, start: float) -> str:
    """The jobs of a sweep that failed since ``start``, a line each: name and reason."""
    files = [file for file in sorted(sweep.glob("*/error.txt")) if file.stat().st_mtime >= start]
    lines = [f"  {file.parent.name}: {file.read_text().splitlines()[0]}" for file in files]
    if not lines:
        return f"jobs in {sweep} were refused, see above"
    return "\n".join([f"{len(files)} of the jobs in {sweep} failed (error.txt in each one's folder):", *lines])


def _nearest(error: Exception, config_dir: Path, config_name: str) -> str:
    if isinstance(error, MissingConfigException) and error.options and error.missing_cfg_file:
        return did_you_mean(Path(str(error.missing_cfg_file)).name, error.options)
    if match := re.search(r"Could not override '([^']+)'", str(error)):
        return did_you_mean(match[1], _keys(config_dir, config_name))
    return ""


def _keys(config_dir: Path, config_name: str) -> Iterator[str]:
    """Every dotted key of the configuration as it is with the group choices of the command line."""
    groups = [word for word in sys.argv[1:] if re.fullmatch(r"[\w/]+=[\w/]+", word)]
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_dir), version_base="1.3"):
        try:
            cfg = compose(config_name, groups)
        except HydraException:  # one of them is what is wrong
            cfg = compose(config_name)

    def walk(node: DictConfig, prefix: str) -> Iterator[str]:
        for key in map(str, node):
            yield f"{prefix}{key}"
            child = node._get_node(key)
            if isinstance(child, DictConfig) and not child._is_none():
                yield from walk(child, f"{prefix}{key}.")

    yield from walk(cfg, "")
