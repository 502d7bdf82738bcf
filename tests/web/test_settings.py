"""
/api/settings over a connection.
"""

import attrs

from m3u8svc.tasks.task import Settings

PROXY = {"proxy_type": "http", "proxy_host": "p.example", "proxy_port": 3128}


def test_get(wire, service):
    """All settings, the password masked, and where films go by default."""
    service.settings = Settings(**PROXY, proxy_password="secret")
    reply = wire.ask("GET", "/api/settings")
    assert (
        attrs.asdict(service.settings)
        | {
            "proxy_password": "***",
            "default_save_location": "/srv/films",
        }
        == reply.value
    )


def test_post(wire, service):
    """The whole object is replaced."""
    service.settings = Settings(download_threads=9, debug_log=True)
    reply = wire.ask("POST", "/api/settings", {"download_threads": 4})
    assert (200, {"status": "success"}) == (reply.status, reply.value)
    assert Settings(download_threads=4) == service.settings


def test_post_what_was_got(wire, service):
    """What a GET answered may be sent back: nothing changes, the hidden password least of all."""
    service.settings = before = Settings(**PROXY, proxy_password="secret", save_location="/srv/x")
    reply = wire.ask("POST", "/api/settings", wire.ask("GET", "/api/settings").value)
    assert ({"status": "success"}, before) == (reply.value, service.settings)


def test_post_that_is_wrong(wire, service):
    """Wrong settings are a 400 and change nothing."""
    reply = wire.ask("POST", "/api/settings", {"download_threads": "x", "proxy_type": "socks5h"})
    assert (400, Settings()) == (reply.status, service.settings)
    assert "download_threads: " in reply.value and "proxy_type: " in reply.value
