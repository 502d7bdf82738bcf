"""
A service that runs as an ordinary user: what it may not write to.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.conftest import require
from tests.integration.media import Stream
from tests.integration.nginx_server import Nginx
from tests.integration.service_child import Service, running
from tests.needs import ORDINARY_USER, ordinary_user


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service of an ordinary user, who has its directory."""
    require("curl")
    command = ordinary_user()
    place = tmp_path / "service"
    place.mkdir()
    shutil.chown(place, ORDINARY_USER, ORDINARY_USER)
    with running(place, before=command) as started:
        yield started


@pytest.mark.parametrize("field", ["save_location", "temp_directory"])
@pytest.mark.parametrize("deeper", ["", "new"])
def test_a_directory_without_permission(
    service: Service, nginx: Nginx, streams: dict[str, Stream], tmp_path: Path, field: str, deeper: str
) -> None:
    """The task fails with no_permission and the path; once the directory is the user's own, a download gets there."""
    owner = tmp_path / "roots"
    owner.mkdir(0o755)
    place = str(owner / deeper)
    url = nginx.base + streams["plain"].path
    task = service.fail(url, "film", **{field: place})
    assert ("no_permission", True) == (task["err_code"], place in task["err_msg"])
    assert [] == os.listdir(owner)
    shutil.chown(owner, ORDINARY_USER, ORDINARY_USER)
    done = Path(service.finish(url, "film", **{field: place})["output"])
    assert ORDINARY_USER == done.owner() and (field == "temp_directory" or done.is_relative_to(place))
