"""Shapes in signatures are enforced while the tests run; real data are found by an environment variable."""

import os
from pathlib import Path

import pytest
from jaxtyping import install_import_hook

install_import_hook("awing", "typechecking.check")  # before anything imports awing

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """A folder of real faces in their data sets' own layouts: $AWING_TEST_DATA, or ../shared/data."""
    folder = Path(os.environ.get("AWING_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}; set AWING_TEST_DATA")
    return folder
