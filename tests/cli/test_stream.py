"""
The stream that the demo makes, looked at by libav in a child.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

LOOK = """
import av, json, sys
av.logging.set_level(av.logging.ERROR)
found = []
for path in sys.argv[1:]:
    with av.open(path) as container:
        packets = [packet for packet in container.demux() if packet.size]
        found.append([[p.stream.type, p.pts, p.dts, p.is_keyframe, p.is_corrupt, len(p.decode())] for p in packets])
print(json.dumps(found))
"""


def run(*arguments: object, status: int = 0) -> subprocess.CompletedProcess[str]:
    """A Python child, its output as text."""
    ended = subprocess.run([sys.executable, *map(str, arguments)], capture_output=True, text=True, timeout=30)
    assert (status, "") == (ended.returncode, ended.stderr if status == 0 else ""), ended.stderr
    return ended


def make(directory: Path, *arguments: object) -> Path:
    """A stream by the command line of the maker."""
    return Path(run("-m", "m3u8svc.testing.stream", directory, *arguments).stdout.strip())


def describe(path: Path) -> Mapping[str, Any]:
    """What the child says is in a file."""
    described: Mapping[str, Any] = json.loads(run("-m", "m3u8svc.testing.stream", path, "--describe").stdout)
    return described


@pytest.fixture(scope="module")
def playlist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain stream of five seconds: two whole segments and a half one."""
    return make(tmp_path_factory.mktemp("stream"), "--seconds", 5)


def test_playlist_says_what_the_segments_are(playlist: Path) -> None:
    """Durations are exact, the last one is what is left."""
    lines = playlist.read_text().splitlines()
    assert ["#EXTINF:2.000,", "#EXTINF:2.000,", "#EXTINF:1.000,"] == [each for each in lines if "EXTINF" in each]
    assert ["00000.ts", "00001.ts", "00002.ts"] == [each for each in lines if not each.startswith("#")]
    assert ("#EXTM3U", "#EXT-X-ENDLIST") == (lines[0], lines[-1])


def test_every_segment_begins_with_its_only_keyframe_and_time_runs_on(playlist: Path) -> None:
    """A player may start at any segment, and read one after the other without a seam."""
    segments = json.loads(run("-c", LOOK, *sorted(playlist.parent.glob("*.ts"))).stdout)
    pictures = [[packet for packet in segment if packet[0] == "video"] for segment in segments]
    assert [[0], [0], [0]] == [[at for at, packet in enumerate(each) if packet[3]] for each in pictures]
    shown = sorted(packet[1] for each in pictures for packet in each)
    assert [shown[0] + 3600 * number for number in range(125)] == shown
    heard = [packet[1] for segment in segments for packet in segment if packet[0] == "audio"]
    assert {1920} == {after - before for before, after in zip(heard, heard[1:], strict=False)}


def test_all_of_it_decodes(playlist: Path, tmp_path: Path) -> None:
    """The segments as one stream hold 125 pictures and 5 s of sound (and AAC's priming), none of them damaged."""
    whole = tmp_path / "whole.ts"
    whole.write_bytes(b"".join(path.read_bytes() for path in sorted(playlist.parent.glob("*.ts"))))
    (packets,) = json.loads(run("-c", LOOK, whole).stdout)
    assert not any(packet[4] for packet in packets)
    counts = {kind: sum(packet[0] == kind for packet in packets) for kind in ("video", "audio")}
    assert {"video": 125, "audio": 236} == counts


def test_pictures_are_not_decoded_in_the_order_they_are_shown(playlist: Path) -> None:
    """There are B-pictures, as in streams that people make."""
    ((*packets,),) = json.loads(run("-c", LOOK, playlist.parent / "00000.ts").stdout)
    shown = [packet[1] for packet in packets if packet[0] == "video"]
    assert shown != sorted(shown)


def test_description_counts_tracks_and_packets(playlist: Path) -> None:
    """The child says what a file holds."""
    expected = {
        "duration_s": pytest.approx(2.0, abs=0.1),
        "tracks": [
            {"kind": "video", "codec": "h264", "packets": 50},
            {"kind": "audio", "codec": "aac", "packets": 95},
        ],
    }
    assert expected == describe(playlist.parent / "00000.ts")


def test_encrypted_stream_is_the_same_behind_its_key(tmp_path: Path) -> None:
    """AES-128 with the sequence number as IV: libav undoes it, and no segment shows a TS packet."""
    playlist = make(tmp_path, "--seconds", 3, "--encrypted")
    assert '#EXT-X-KEY:METHOD=AES-128,URI="key.bin"' in playlist.read_text()
    assert 16 == len((tmp_path / "key.bin").read_bytes())
    assert [False, False] == [path.read_bytes().startswith(b"G") for path in sorted(tmp_path.glob("*.ts"))]
    # libav's own reader of playlists decrypts; extension checks of newer versions want to be told about .bin.
    script = (
        "import av, sys\n"
        "with av.open(sys.argv[1], options={'allowed_extensions': 'ALL', 'extension_picky': '0'}) as container:\n"
        "    print(sum(len(p.decode()) for p in container.demux(video=0)))"
    )
    assert "75" == run("-c", script, playlist).stdout.strip()


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--seconds", "0"], 2, "argument --seconds: must be at least 1, not 0"),
        (["--seconds", "x"], 2, "argument --seconds: invalid int value: 'x'"),
        (["--describe"], 1, "Is a directory"),
    ],
)
def test_bad_arguments_are_named(tmp_path: Path, arguments: list[str], status: int, said: str) -> None:
    """A wrong line ends with a status and one clear message."""
    ended = run("-m", "m3u8svc.testing.stream", tmp_path, *arguments, status=status)
    assert said in ended.stderr and "Traceback" not in ended.stderr
