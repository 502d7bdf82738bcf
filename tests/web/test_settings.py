"""
/api/settings over a connection.
"""

import attrs

from m3u8svc.tasks.task import Settings, SystemSettings


def system(**settings):
    return SystemSettings(settings=Settings(**settings))


PROXY = {"proxy_type": "http", "proxy_host": "p.example", "proxy_port": 3128}


def test_get(wire, service):
    """All settings, the password masked, and where films go by default."""
    service.settings = system(**PROXY, proxy_password="secret")
    reply = wire.ask("GET", "/api/settings")
    assert (
        attrs.asdict(service.settings.settings)
        | {
            "proxy_password": "***",
            "merger": "mp4",
            "storage": "disk",
            "variant": "best",
            "audio": "",
            "subtitles": "none",
            "subtitle_files": "vtt",
            "on_param_change": "keep",
            "low_disk": False,
            "report": False,
            "header_hosts": [],
            "plugins": {},
            "limit_rate": 0,
            "limit_rate_per_host": 0,
            "limit_schedule": "",
            "default_save_location": "/srv/films",
        }
        == reply.value
    )


def test_post(wire, service):
    """The whole object is replaced."""
    service.settings = system(download_threads=9, debug_log=True)
    reply = wire.ask("POST", "/api/settings", {"download_threads": 4})
    assert (200, {"status": "success"}) == (reply.status, reply.value)
    assert system(download_threads=4) == service.settings


def test_post_what_else_has_a_default(wire, service):
    """The merger, the storage and options of plugins may be settings too; a name nobody offers is none."""
    reply = wire.ask("POST", "/api/settings", {"merger": "ts", "plugins": {"good": {"a": 1}}})
    assert (200, SystemSettings(merger="ts", plugins={"good": {"a": 1}})) == (reply.status, service.settings)
    chosen = {
        "variant": "720p",
        "audio": "en",
        "subtitles": "all",
        "subtitle_files": "vtt,srt",
        "on_param_change": "split",
        "low_disk": True,
        "report": True,
        "header_hosts": ["cdn.example", "*.example.org"],
        "limit_rate": 5_000_000,
        "limit_rate_per_host": 1024,
        "limit_schedule": "Mon-Fri 08:00-18:00 2M; 22:00-06:00 0",
    }
    assert 200 == wire.ask("POST", "/api/settings", chosen).status
    assert SystemSettings(**chosen) == service.settings
    assert chosen.items() <= wire.ask("GET", "/api/settings").value.items()
    reply = wire.ask("POST", "/api/settings", {"storage": "s3"})
    assert (400, True) == (reply.status, "storage: 必须是 disk 之一" in reply.value)
    reply = wire.ask("POST", "/api/settings", {"variant": "hight<=720", "key": "00"})
    assert (400, True) == (reply.status, "variant: 第 1 个字符处的“hight”" in reply.value)
    assert "key" not in reply.value


def test_post_limits_that_are_none(wire, service):
    """Each is named with its value, the entry of a schedule that is wrong with what is wrong about it."""
    wrong = {"limit_rate": 5, "limit_rate_per_host": "2M", "limit_schedule": "12:00-13:00 2M; Mon-Foo 08:00-18:00 2M"}
    before = service.settings
    reply = wire.ask("POST", "/api/settings", wrong)
    assert (400, before) == (reply.status, service.settings)
    for said in (
        "limit_rate: 必须是 0（不限速）或 1024 到 1000000000000 的整数（字节/秒）（5）",
        "limit_rate_per_host: 必须是 0（不限速）",
        "limit_schedule: “Mon-Foo 08:00-18:00 2M”星期应为 mon",
    ):
        assert said in reply.value
    reply = wire.ask("POST", "/api/settings", {"limit_schedule": 7})
    assert (400, True) == (reply.status, "limit_schedule: 必须是字符串（7）" in reply.value)


def test_post_what_was_got(wire, service):
    """What a GET answered may be sent back: nothing changes, the hidden password least of all."""
    service.settings = before = system(**PROXY, proxy_password="secret", save_location="/srv/x")
    reply = wire.ask("POST", "/api/settings", wire.ask("GET", "/api/settings").value)
    assert ({"status": "success"}, before) == (reply.value, service.settings)


def test_post_that_is_wrong(wire, service):
    """Wrong settings are a 400 and change nothing."""
    reply = wire.ask("POST", "/api/settings", {"download_threads": "x", "proxy_type": "socks5h"})
    assert (400, system()) == (reply.status, service.settings)
    assert "download_threads: " in reply.value and "proxy_type: " in reply.value
