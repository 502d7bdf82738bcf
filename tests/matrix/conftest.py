"""
The bench of the matrix, and what it needs from the machine.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import require
from tests.matrix.browser import CHROMIUM
from tests.matrix.product import Bench, bench
from tests.matrix.streams import Workshop
from tests.needs import lacking


@pytest.fixture(scope="session")
def matrix_place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of everything here."""
    require("ffmpeg", "nginx", "openssl", "curl")
    return tmp_path_factory.mktemp("matrix")


@pytest.fixture(scope="session")
def ready(matrix_place: Path) -> Iterator[Bench]:
    """A server, a service, and Chromium once it is asked for."""
    if not CHROMIUM.exists():
        lacking(f"Chromium at {CHROMIUM}")
    with bench(matrix_place) as made:
        yield made


@pytest.fixture(scope="session")
def workshop(matrix_place: Path) -> Workshop:
    """The encodes, shared with the bench."""
    return Workshop(matrix_place / "encodes")
