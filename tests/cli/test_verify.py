"""
``m3u8svc verify`` and ``m3u8svc repair``.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import CHINESE, ENGLISH, Invoke, Raw, StubService, task

FOUND: dict[str, Any] = {
    "ok": True,
    "file": "/srv/film.mp4",
    "size": 1234567,
    "duration_s": 3.0,
    "av_drift_s": -1.0,
    "problems": [],
    "tracks": [],
}
NO_TRACKS = b'{"result": {"size": 1}, "summary": {"text": ""}, "tracks": [3]}'


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds of picture with two of sound."""
    if shutil.which("ffmpeg") is None:
        pytest.fail("needs ffmpeg") if os.environ.get("CI") == "true" else pytest.skip("needs ffmpeg")
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    picture, sound = (
        ["-f", "lavfi", "-t", "3", "-i", "testsrc2=s=160x90:r=25"],
        ["-f", "lavfi", "-t", "2", "-i", "sine"],
    )
    codecs = ["-c:v", "libx264", "-g", "25", "-c:a", "aac"]
    subprocess.run(["ffmpeg", "-v", "error", *picture, *sound, *codecs, str(path)], check=True)
    return path


@pytest.fixture
def copy(film: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copy(film, tmp_path / "film.mp4"))


def write_report(copy: Path, **result: Any) -> None:
    """A report beside the file."""
    said = {"result": {"size": copy.stat().st_size, "duration_s": 3.0} | result, "summary": {"text": "缺失 0/3"}}
    copy.with_suffix(".report.json").write_text(json.dumps(said))


# -- verify FILE -----------------------------------------------------------------------------------------------------


def test_a_good_file(copy: Path, invoke: Invoke) -> None:
    """Status 0; counts, length, drift and the report beside it are shown."""
    write_report(copy)
    result = invoke("verify", str(copy), locale=ENGLISH)
    assert 0 == result.exit_code, result.stdout
    for said in (
        "video h264",
        "75/75",
        "audio aac",
        "3.000 s",
        "ends +1.0",
        "report: 缺失 0/3",
        f"{copy}: nothing is wrong",
    ):
        assert said in result.stdout


def test_everything_is_decoded_unless_told_otherwise(copy: Path, invoke: Invoke) -> None:
    """As JSON, with `ok`; --quick decodes nothing but still counts packets."""
    close = json.loads(invoke("verify", str(copy), "--json").stdout)
    assert (True, 75) == (close["ok"], close["tracks"][0]["frames"])
    quick = json.loads(invoke("verify", str(copy), "--json", "--quick").stdout)
    assert (0, 75) == (quick["tracks"][0]["frames"], quick["tracks"][0]["packets"])


@pytest.mark.parametrize(
    ("locale", "said"), [(ENGLISH, "its structure is broken"), (CHINESE, "结构损坏"), (ENGLISH, "not as it should be")]
)
def test_a_file_that_is_cut_off(copy: Path, invoke: Invoke, locale: str, said: str) -> None:
    """Status 1, and what is wrong in the user's language."""
    copy.write_bytes(copy.read_bytes()[:-50])
    result = invoke("verify", str(copy), locale=locale)
    assert 1 == result.exit_code
    assert said in result.stdout


@pytest.mark.parametrize(("wrong", "code"), [({"size": 1}, "size"), ({"duration_s": 9.0}, "duration")])
def test_a_file_that_is_not_the_reported_one(copy: Path, invoke: Invoke, wrong: dict[str, Any], code: str) -> None:
    """Status 1."""
    write_report(copy, **wrong)
    result = invoke("verify", str(copy), "--json")
    assert (1, [code]) == (result.exit_code, [each["code"] for each in json.loads(result.stdout)["problems"]])


@pytest.mark.parametrize("content", [b"nonsense", b"[]", b'{"result": {}, "summary": {}}', b"\xff", NO_TRACKS])
def test_a_report_that_is_none(copy: Path, invoke: Invoke, content: bytes) -> None:
    """It is named, and nothing is said to be right."""
    copy.with_suffix(".report.json").write_bytes(content)
    result = invoke("verify", str(copy))
    assert (1, "") == (result.exit_code, result.stdout)
    assert "film.report.json" in result.stderr


@pytest.mark.parametrize(("locale", "said"), [(ENGLISH, "is not there"), (CHINESE, "不存在")])
def test_the_files_of_a_split_result(copy: Path, invoke: Invoke, locale: str, said: str) -> None:
    """All beside the first are looked at; what is wrong names its file."""
    shutil.copy(copy, copy.with_name("film.p2.mp4"))
    whole = invoke("verify", str(copy), locale=locale)
    assert (0, 2) == (whole.exit_code, whole.stdout.count("video h264"))
    assert "film.p2.mp4" in whole.stdout
    copy.with_name("film.p2.mp4").rename(copy.with_name("film.p3.mp4"))
    os.truncate(copy.with_name("film.p3.mp4"), 1000)
    broken = invoke("verify", str(copy), locale=locale)
    lines = broken.stdout.splitlines()
    assert 1 == broken.exit_code
    assert [True] == [said in line for line in lines if line.startswith("film.p2.mp4: ")]
    assert [True] == ["box" in line for line in lines if line.startswith("film.p3.mp4: ")]


@pytest.mark.parametrize(("dropped", "said"), [(0, True), (4, True), (5, False)])
def test_a_last_file_that_is_gone(copy: Path, invoke: Invoke, dropped: int, said: bool) -> None:
    """The report knows how many packets all files have; one that was dropped may be of any track."""
    write_report(copy)
    path = copy.with_suffix(".report.json")
    streams = [
        {"kind": "video", "packets": 80, "dropped": 0},
        {"kind": "audio", "packets": 80, "dropped": dropped},
        {"kind": "subtitle", "packets": 9, "dropped": 0},
    ]
    path.write_text(json.dumps(json.loads(path.read_text()) | {"tracks": [{"track": "main", "streams": streams}]}))
    result = invoke("verify", str(copy), locale=ENGLISH)
    assert int(said) == result.exit_code
    assert said == ("the report says 80 packets of video in all, there are 75" in result.stdout)
    assert "packets of audio" not in result.stdout and "packets of subtitle" not in result.stdout


def test_a_file_that_is_not_there(tmp_path: Path, invoke: Invoke) -> None:
    """It is named; no service is asked."""
    result = invoke("verify", str(tmp_path / "gone.mp4"))
    assert 1 == result.exit_code
    assert "gone.mp4" in result.stderr


# -- verify ID, repair -----------------------------------------------------------------------------------------------


def test_a_task_is_verified_by_its_service(service: StubService, invoke: Invoke) -> None:
    """What the service found is shown the same way; the status follows it."""
    found = FOUND | {
        "ok": False,
        "problems": [{"code": "packets", "track": 1, "expected": 5, "got": 4}, {"code": "new"}],
    }
    service.answer = Raw(body=json.dumps(task("a1") | found).encode())
    result = invoke("verify", "a1", locale=ENGLISH)
    assert 1 == result.exit_code
    assert "track 1: 5 packets expected, 4 read" in result.stdout and "{'code': 'new'}" in result.stdout
    assert {"id": "a1", "verify": "full"} == service.visits[-1].query


def test_a_service_that_knows_no_verify(service: StubService, invoke: Invoke) -> None:
    """An older one answers the task: that is no verdict."""
    service.put(task("a1"))
    result = invoke("verify", "a1")
    assert 3 == result.exit_code
    assert "verify" in result.stderr


def test_repair_is_asked_for(service: StubService, invoke: Invoke) -> None:
    """One PUT; what the service warns of goes to standard error."""
    service.put(task("a1"))
    result = invoke("repair", "a1", locale=ENGLISH)
    assert (0, "a1 is being repaired; see m3u8svc watch\n") == (result.exit_code, result.stdout)
    assert ("PUT", {"id": "a1"}, {"repair": True}) == (
        service.changes[-1].method,
        service.changes[-1].query,
        service.changes[-1].body,
    )
    service.answer = Raw(body=json.dumps(task("a1") | {"warnings": ["没有\x1b保留"]}).encode())
    assert "没有\\x1b保留" in invoke("repair", "a1").stderr


def test_a_refused_repair(service: StubService, invoke: Invoke) -> None:
    """Status 1, with the service's words."""
    service.put(task("a1", status="已完成"))
    result = invoke("repair", "a1")
    assert 1 == result.exit_code
    assert "invalid_transition" in result.stderr
