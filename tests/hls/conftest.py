"""
For the pure tests: repeatable Hypothesis, and no watch for Deferreds, since nothing here knows of any.
"""

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "ci", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
settings.load_profile("ci")


@pytest.fixture(autouse=True)
def no_unhandled_errors() -> None:
    """Collecting garbage after each of hundreds of small tests would take longer than the tests."""
