"""
/api/plugins over a connection.
"""


def test_plugins(wire):
    """How each plugin fares, what its hooks have done, and what a request may name."""
    answer = wire.ask("GET", "/api/plugins")
    assert 200 == answer.status
    good, sad = answer.value["plugins"]
    assert ("good", "active", "1.0", "m3u8svc-good", "") == tuple(
        good[name] for name in ("name", "state", "version", "distribution", "reason")
    )
    assert {"task_changed": {"calls": 3, "failures": 1, "slow": 0}} == good["hooks"]
    assert ("broken", "ImportError: no module named x") == (sad["state"], sad["reason"])
    assert (["mp4", "ts", "none"], ["disk"]) == (answer.value["mergers"], answer.value["storages"])


def test_plugins_are_not_changed_from_outside(wire):
    """Other methods are 405, as everywhere."""
    answer = wire.ask("POST", "/api/plugins", b"{}")
    assert (405, "方法不支持") == (answer.status, answer.value)
