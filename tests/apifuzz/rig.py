"""
The service that is fuzzed: at home, watched, and with little to do at once.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.integration.service_child import Service, running

ENTRY = Path(__file__).with_name("entry.py")


@contextmanager
def at_home(place: Path, noted: Path) -> Iterator[Service]:
    """
    A service that connects to nobody; long turns of its reactor are noted in this file. It must end in order.
    """
    before = (sys.executable, "-I", str(ENTRY), str(noted), "--")
    with running(place, "--max-active", "2", "--no-plugins", before=before) as service:
        yield service
