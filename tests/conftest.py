"""Shapes in signatures are enforced while the tests run; real data are found by an environment variable."""

import copy
import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import jaxtyping
import pytest
from hydra import compose, initialize_config_dir
from jaxtyping import install_import_hook
from omegaconf import DictConfig

install_import_hook("awing", "typechecking.check")  # before anything imports awing

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """A folder of real faces in their data sets' own layouts: $AWING_TEST_DATA, or ../shared/data."""
    folder = Path(os.environ.get("AWING_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}; set AWING_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a few rendered faces: ``synthetic/``, the same as ``wflw/``, as ``300w/`` with 68 points."""
    from awing.data.readers import read_wflw
    from awing.data.synthetic import write_dataset

    folder = tmp_path_factory.mktemp("data")
    counts = {"train": 24, "test": 8}
    write_dataset(folder / "synthetic", **counts, seed=0, workers=1)
    (folder / "wflw").symlink_to(folder / "synthetic")
    for split, target in (("train", folder / "300w" / "afw"), ("test", folder / "300w" / "ibug")):
        target.mkdir(parents=True)
        for i, record in enumerate(read_wflw(folder / "synthetic", split, expected=counts).records):
            (target / f"image {i}.jpg").symlink_to(record.path)
            body = "\n".join(f"{x + 1:.6f} {y + 1:.6f}" for x, y in record.points[FROM_98])
            (target / f"image {i}.pts").write_text(f"version: 1\nn_points: 68\n{{\n{body}\n}}\n")
    return folder


# the 68 points among the 98
FROM_98 = [
    *range(0, 33, 2), *range(33, 38), *range(42, 47), *range(51, 60),
    60, 61, 63, 64, 65, 67, 68, 69, 71, 72, 73, 75, *range(76, 96),
]  # fmt: skip


@pytest.fixture(scope="session")
def config() -> Callable[..., DictConfig]:
    """Compose a root config as the command line does: ``config("train", "loss=mse")``."""

    @functools.cache
    def composed(name: str, *overrides: str) -> DictConfig:
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            return compose(name, list(overrides))

    return lambda *words: copy.deepcopy(composed(*words))


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Calls as a user makes them, without the run-time shape checks of the test session."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)
