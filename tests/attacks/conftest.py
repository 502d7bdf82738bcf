"""
A service to attack, and a server that attacks it.
"""

from collections.abc import Iterator

import pytest

from tests.attacks.rig import Hostile, attacked, hostile
from tests.integration.conftest import pytest_runtest_makereport, require
from tests.integration.service_child import Service

__all__ = ["pytest_runtest_makereport"]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service for the attacks of one file; at their end its log has no word of a bug of ours."""
    require("curl")
    with attacked(tmp_path_factory.mktemp("attacked") / "service") as started:
        yield started


@pytest.fixture
def server() -> Iterator[Hostile]:
    """A server whose every byte is the attacker's."""
    with hostile() as started:
        yield started
