"""
A task on the wire: the seed's fields in the seed's order, then ours.
"""

from urllib.parse import unquote

import attrs
import pytest

from m3u8svc.errors import DiskFull
from m3u8svc.hls.outline import (
    Outline,
    OutlinedGroup,
    OutlinedRendition,
    OutlinedSkip,
    OutlinedTrack,
    OutlinedVariant,
)
from m3u8svc.tasks.incidents import incident_of
from m3u8svc.tasks.task import Phase, Progress, Settings, Status, Task, TaskSpec
from m3u8svc.web.render import (
    header_text,
    outline_object,
    progress_object,
    settings_object,
    success_object,
    task_object,
)
from m3u8svc.wording import Said

SEED = [
    *("id", "url", "filename", "size", "progress", "status", "status_bar", "err_msg"),
    *("created_at", "updated_at", "completed_at", "header_map", "advanced_settings"),
]
OURS = ["phase", "speed", "eta", "segments_done", "segments_total", "bytes"]
OURS += ["err_code", "err_msg_en", "err_url", "err_advice", "err_advice_en", "held"]
OURS += ["output", "again", "warnings", "warnings_en", "playlist_bytes", "priority", "queue_position"]

EXTENSIONS = [
    *("merger", "storage", "faststart", "allow_gaps", "variant", "audio", "subtitles", "subtitle_files", "groups"),
    *("key", "iv", "append_query", "base_url", "on_param_change", "low_disk", "report", "header_hosts"),
    *("limit_rate", "plugins"),
]


def whole_task(**changes):
    fields = {
        "id": "t1",
        "spec": TaskSpec(
            url="https://a.example/i.m3u8?token=1",
            filename="film",
            headers={"Cookie": ("a=1", "b=2")},
            settings=Settings(proxy_password="secret", proxy_username="me", download_threads=4),
            warnings=("w1",),
        ),
        "status": Status.COMPLETED,
        "err_msg": "坏了",
        "err_code": "timeout",
        "created_at": 1700000000.25,
        "updated_at": 1700000001.0,
        "completed_at": 1700000002.000001,
        "size": 7,
        "output": "/srv/film.mp4",
        "warnings": ("w1", Said("提示", "a hint")),
        "progress": Progress(
            percent=41,
            phase=Phase.DOWNLOAD,
            status_bar="[3/5]下载ts 速度 5.09 MB/s",
            speed=1234.56,
            eta_s=7.4,
            segments_done=3,
            segments_total=9,
            size_bytes=99,
        ),
    }
    return Task(**(fields | changes))


def test_a_key_is_never_shown():
    """What was given as the key of a stream is a secret (DESIGN 5.7)."""
    task = whole_task()
    spec = attrs.evolve(task.spec, extensions=attrs.evolve(task.spec.extensions, key="00" * 16))
    assert "***" == task_object(attrs.evolve(task, spec=spec), default_save_location="/srv")["key"]


def test_fields_and_their_order():
    """The documented fields come first, in the documented order."""
    shown = task_object(whole_task(), default_save_location="/srv")
    assert [*SEED, *OURS, *EXTENSIONS] == list(shown)


def test_values():
    """Each field shows what it says."""
    shown = task_object(whole_task(), default_save_location="/srv")
    expected = {
        "id": "t1",
        "url": "https://a.example/i.m3u8?token=1",
        "filename": "film",
        "size": 7,
        "progress": 41,
        "status": "已完成",
        "status_bar": "[3/5]下载ts 速度 5.09 MB/s",
        "err_msg": "坏了",
        "created_at": "2023-11-14T22:13:20.250000Z",
        "updated_at": "2023-11-14T22:13:21.000000Z",
        "completed_at": "2023-11-14T22:13:22.000001Z",
        "header_map": {"Cookie": ["a=1", "b=2"]},
        "phase": "download",
        "speed": 1235,
        "eta": 7,
        "segments_done": 3,
        "segments_total": 9,
        "bytes": 99,
        "err_code": "timeout",
        "output": "/srv/film.mp4",
        "warnings": ["w1", "提示"],
        "warnings_en": ["w1", "a hint"],
    }
    assert expected == {name: shown[name] for name in expected}


def test_an_error_is_told_in_both_languages():
    """Its text as it was, what can be done about it, the link it is about, why the service holds the task."""
    error = DiskFull(path="/srv")
    incident = incident_of(error, at=1.0)
    task = whole_task(err_code="disk_full", err_msg=error.text(), incidents=(incident,), held="disk_full", err_url="u")
    shown = task_object(task, default_save_location="/srv")
    assert {
        "err_msg": "磁盘空间不足：/srv",
        "err_msg_en": "no space left on the disk of /srv",
        "err_advice": "清理磁盘空间，任务会自动继续",
        "err_advice_en": "free some space; the task goes on by itself",
        "err_url": "u",
        "held": "disk_full",
    } == {name: shown[name] for name in ("err_msg", "err_msg_en", "err_advice", "err_advice_en", "err_url", "held")}


def test_no_error_no_advice():
    """Where nothing is wrong there is nothing to do."""
    shown = task_object(whole_task(err_code="", err_msg=""), default_save_location="/srv")
    assert {""} == {
        shown[name] for name in ("err_code", "err_msg_en", "err_url", "err_advice", "err_advice_en", "held")
    }


def test_fields_that_may_be_absent():
    """err_msg is there when there is one, completed_at when the task is done."""
    shown = task_object(whole_task(status=Status.FAILED, err_msg=""), default_save_location="/srv")
    assert set() == {"err_msg", "completed_at"}.intersection(shown)


def test_advanced_settings():
    """All settings are shown, the password masked, an empty save location as what it means."""
    shown = task_object(whole_task(), default_save_location="/srv/films")["advanced_settings"]
    assert ("***", "me", 4, "/srv/films", 15) == (
        shown["proxy_password"],
        shown["proxy_username"],
        shown["download_threads"],
        shown["save_location"],
        len(shown),
    )


def test_settings_without_a_password():
    """The mask stands only for a password that is set."""
    assert "" == settings_object(Settings())["proxy_password"]


def test_progress_message():
    """The origin's three fields, then ours; nothing secret."""
    expected = {
        "id": "t1",
        "status_bar": "[3/5]下载ts 速度 5.09 MB/s",
        "progress": 41,
        "status": "已完成",
        "phase": "download",
        "speed": 1235,
        "eta": 7,
    }
    assert expected == progress_object(whole_task())
    assert "eta" not in progress_object(whole_task(progress=Progress()))


def test_success():
    """Warnings are there when there are any."""
    assert {"status": "success"} == success_object()
    warnings = {"warnings": ["w", "提示"], "warnings_en": ["w", "a hint"]}
    assert {"status": "success", "id": "1", **warnings} == success_object(("w", Said("提示", "a hint")), id="1")


def test_outline():
    """Names and shapes of a plan: seconds and bytes as elsewhere, lists for what is several."""
    variant = OutlinedVariant(
        bandwidth=9,
        average_bandwidth=None,
        width=4,
        height=3,
        fps=25.0,
        range=None,
        codecs=("a", "b"),
        audio_only=False,
        chosen=True,
    )
    rendition = OutlinedRendition(
        type="AUDIO",
        group="g",
        language="en",
        name="n",
        default=True,
        forced=False,
        inside=False,
        chosen=True,
        track="audio1",
    )
    group = OutlinedGroup(number=1, first=1, last=2, start_s=0.5, duration_s=1.5, url="http://h/*", skipped=1)
    outline = Outline(
        variants=(variant,),
        renditions=(rendition,),
        tracks=(OutlinedTrack(track="main", segments=2, duration_s=1.5),),
        segments=2,
        skipped=1,
        gaps=0,
        skips=(OutlinedSkip(positions="1", count=1, reason=Said("跳过", "skipped")),),
        groups=(group,),
        duration_s=1.0,
        estimated_bytes=7,
        methods=("AES-128",),
        key_formats=("identity",),
        warnings=("w", Said("提示", "a hint")),
    )
    assert {
        "status": "success",
        "duration": 1.0,
        "estimated_bytes": 7,
        "segments": {
            "count": 2,
            "skipped": 1,
            "gaps": 0,
            "skips": [{"positions": "1", "count": 1, "reason": "跳过", "reason_en": "skipped"}],
        },
        "encryption": {"methods": ["AES-128"], "key_formats": ["identity"]},
        "variants": [
            {
                "bandwidth": 9,
                "average_bandwidth": None,
                "width": 4,
                "height": 3,
                "fps": 25.0,
                "range": None,
                "codecs": ["a", "b"],
                "audio_only": False,
                "chosen": True,
            }
        ],
        "renditions": [
            {
                "type": "AUDIO",
                "group": "g",
                "language": "en",
                "name": "n",
                "default": True,
                "forced": False,
                "inside": False,
                "chosen": True,
                "track": "audio1",
            }
        ],
        "tracks": [{"track": "main", "segments": 2, "duration": 1.5}],
        "groups": [
            {"number": 1, "first": 1, "last": 2, "start": 0.5, "duration": 1.5, "url": "http://h/*", "skipped": 1}
        ],
        "warnings": ["w", "提示"],
        "warnings_en": ["w", "a hint"],
    } == outline_object(outline)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("there is no such task", "there is no such task"),
        ("100% of “x”\r\nX-Evil: 1", "100%25 of %E2%80%9Cx%E2%80%9D\\x0d\\x0aX-Evil: 1"),
        ("a lone \ud800", "a lone ?"),
        ("at https://u:p@h/x?token=CANARY", "at https://h/x?%E2%80%A6"),
    ],
)
def test_a_text_as_a_header(text, value):
    """Printable ASCII on one line, redacted; what it was can be had back."""
    assert value == header_text(text)
    assert value.isascii() and value.isprintable()


def test_a_header_has_an_end():
    """At most 1 KiB, and no character is cut in two."""
    for text in ("字" * 5000, "a" + "字" * 5000, "a" * 5000):
        value = header_text(text)
        assert 1015 < len(value) <= 1024
        assert text.startswith(unquote(value, errors="strict"))
