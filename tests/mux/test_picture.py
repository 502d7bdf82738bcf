"""
The child that makes a picture, given real files in its real box: what it shows, and what it says where it cannot.
"""

import io
import os
from collections.abc import Iterator
from pathlib import Path

import av
import pytest

from m3u8svc.errors import NotThereYet
from m3u8svc.mux.picture import DECODERS, NO_KEY_FRAME, NO_VIDEO, UNDECODABLE, fitted
from m3u8svc.mux.picture import opened as looked_into
from m3u8svc.pictures import Footage, Picture, Pictures, picture_in
from m3u8svc.results import ResultFile
from m3u8svc.sandbox.level import Box, offered
from tests.mux.conftest import AAC, X264, run_ffmpeg

COLOURS = {"red": (254, 0, 0), "blue": (0, 0, 254)}


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of red and two of blue with a tone, as TS, as fMP4 and as a film; and what is no film."""
    folder = tmp_path_factory.mktemp("footage")
    coloured = ("-f", "lavfi", "-i", "color=red:s=640x360:r=25:d=2[a];color=blue:s=640x360:r=25:d=2[b];[a][b]concat")
    tone = ("-f", "lavfi", "-i", "sine=d=4")
    run_ffmpeg(*coloured, *tone, *X264, *AAC, folder / "film.mp4")
    cut = ("-c", "copy", "-f", "hls", "-hls_time", "2", "-hls_playlist_type", "vod")
    run_ffmpeg("-i", folder / "film.mp4", *cut, "-hls_segment_filename", folder / "%d.ts", folder / "ts.m3u8")
    fragments = ("-hls_segment_type", "fmp4", "-hls_segment_filename", folder / "%d.m4s")
    run_ffmpeg("-i", folder / "film.mp4", *cut, *fragments, folder / "fmp4.m3u8")
    run_ffmpeg("-i", folder / "0.ts", "-c", "copy", "-vn", folder / "sound.ts")
    whole = (folder / "1.ts").read_bytes()
    (folder / "garbage.ts").write_bytes(os.urandom(200_000))
    (folder / "empty.ts").write_bytes(b"")
    (folder / "damaged.ts").write_bytes(whole[:2000] + bytes(len(whole) - 2000))
    huge = ("-f", "lavfi", "-i", "color=s=16000x8000:r=1:d=1", "-c:v", "libx264", "-preset", "ultrafast", "-bf", "0")
    run_ffmpeg(*huge, folder / "huge.ts")
    run_ffmpeg("-f", "lavfi", "-i", "color=s=64x64:d=1", "-c:v", "mjpeg", "-pix_fmt", "yuvj420p", folder / "other.mp4")
    (folder / "list.ts").write_text(f"#EXTM3U\n#EXTINF:2,\nfile://{folder}/0.ts\n#EXT-X-ENDLIST\n")
    return folder


def opened(path: Path) -> ResultFile:
    return ResultFile(str(path), os.open(path, os.O_RDONLY), lambda *_: None)


def picture(
    path: Path,
    *,
    init: Path | None = None,
    span: tuple[float, float] | None = None,
    pictures: Pictures | None = None,
) -> Picture:
    """What the child makes of it."""
    demuxer = "mpegts" if path.suffix == ".ts" else "mp4"
    where = Footage(path=path, demuxer=demuxer, init=init, span=span)
    return (pictures or Pictures()).make(("t", 1, ""), where, opened(path), None if init is None else opened(init))


def colour(made: Picture) -> str:
    """Which of the colours it shows, and that it is a small JPEG."""
    assert "" == made.none
    assert len(made.jpeg) < 20_000
    with av.open(io.BytesIO(made.jpeg), format="jpeg_pipe") as container:
        frame = next(container.decode(video=0))
    assert (160, 90) == (frame.width, frame.height)
    seen = bytes(frame.reformat(16, 16, format="rgb24").planes[0])[:3]
    return min(COLOURS, key=lambda name: sum(abs(int(a) - b) for a, b in zip(seen, COLOURS[name], strict=True)))


def test_of_a_ts(footage: Path) -> None:
    """Each segment shows what it holds."""
    assert ["red", "blue"] == [colour(picture(footage / f"{number}.ts")) for number in (0, 1)]


def test_of_fmp4(footage: Path) -> None:
    """With the init section in front."""
    assert ["red", "blue"] == [
        colour(picture(footage / f"{number}.m4s", init=footage / "init.mp4")) for number in (0, 1)
    ]


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ((0.0, 4.0), "red"),
        ((1.0, 4.0), "red"),
        ((1.1, 4.0), "blue"),
        ((2.0, 4.0), "blue"),
        ((1.02, 2.0), "red"),
        ((1.0, 1.001), "red"),
    ],
)
def test_of_a_film(footage: Path, span: tuple[float, float], expected: str) -> None:
    """The first key frame of that span; there is one each second, and times may be rounded."""
    assert expected == colour(picture(footage / "film.mp4", span=span))


@pytest.mark.parametrize("span", [(1.1, 2.0), (1.1, 2.04), (1.1, 1.9), (3.5, 4.0)])
def test_of_a_span_without_a_key_frame(footage: Path, span: tuple[float, float]) -> None:
    """Nothing of what follows is shown for it, nor of what is before, nor what is not there."""
    assert "no_key_frame" == picture(footage / "film.mp4", span=span).none


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sound.ts", "no_video"),
        ("garbage.ts", "undecodable"),
        ("empty.ts", "undecodable"),
        ("huge.ts", "undecodable"),
        ("list.ts", "undecodable"),
        ("other.mp4", "no_video"),
    ],
)
def test_of_what_has_none(footage: Path, name: str, expected: str) -> None:
    """Each says why; a picture as large as a bomb is not decoded, nor what no film is coded in."""
    assert expected == picture(footage / name).none


@pytest.mark.parametrize(
    ("codec", "pix_fmt"), [("mjpeg", "yuvj420p"), ("png", "rgb24"), ("prores", "yuv422p10le"), ("libx264", "yuv420p")]
)
def test_which_decoders_run(tmp_path: Path, codec: str, pix_fmt: str) -> None:
    """To find out what a file holds libav runs decoders, and no others than ours: they tell of pixels."""
    file = tmp_path / "film.mov"
    run_ffmpeg("-f", "lavfi", "-i", "color=s=64x64:d=1", "-c:v", codec, "-pix_fmt", pix_fmt, file)
    with open(file, "rb") as media, looked_into(media, "mp4") as container:
        found = container.streams.video[0].codec_context
        assert (64, 64, pix_fmt if codec == "libx264" else None) == (found.width, found.height, found.pix_fmt)


def test_no_decoder_of_sound_runs(footage: Path) -> None:
    """How samples are laid out is said by decoders only."""
    with open(footage / "0.ts", "rb") as media, looked_into(media, "mpegts") as container:
        assert container.streams.audio[0].codec_context.format is None


def test_every_codec_of_films_is_decoded() -> None:
    """There is one of each."""
    films = {"h264", "hevc", "av1", "vp8", "vp9", "mpeg1video", "mpeg2video", "mpeg4"}
    assert films == {av.Codec(name, "r").canonical_name for name in DECODERS}


def test_of_what_is_damaged(footage: Path) -> None:
    """There is one or there is none, and it is no death."""
    assert picture(footage / "damaged.ts").none != "died"


def test_fragments_without_their_init_section(footage: Path) -> None:
    """They cannot be read."""
    assert "undecodable" == picture(footage / "0.m4s").none


def test_the_words_of_the_child() -> None:
    """Each why of its has a text of its own."""
    for word in (NO_VIDEO, NO_KEY_FRAME, UNDECODABLE):
        assert Picture(none=word) == picture_in({"none": word})


def test_its_box(footage: Path) -> None:
    """Every wall that this machine offers is up around it."""
    boxes: list[Box] = []
    picture(footage / "0.ts", pictures=Pictures(boxes.append))
    assert [offered().level] == [each.level for each in boxes]


@pytest.fixture
def endless() -> Iterator[Path]:
    """A file that never ends and holds nothing."""
    reading, writing = os.pipe()
    yield Path(f"/proc/self/fd/{reading}")
    os.close(reading)
    os.close(writing)


def test_that_takes_too_long(endless: Path) -> None:
    """It is ended, and nothing is remembered: the next time it may be quick."""
    pictures = Pictures(longest_s=0.5)
    descriptor = os.open(endless, os.O_RDONLY)
    file = ResultFile(str(endless), descriptor, lambda *_: None)
    with pytest.raises(NotThereYet) as caught:
        pictures.make(("t", 1, ""), Footage(path=endless, demuxer="mpegts"), file, None)
    assert "not there yet: the picture" == caught.value.text("en")
    assert pictures.known(("t", 1, "")) is None


def test_while_the_service_stops(footage: Path) -> None:
    """No child is started any more."""
    pictures = Pictures()
    pictures.stop()
    with pytest.raises(NotThereYet):
        picture(footage / "0.ts", pictures=pictures)


@pytest.mark.parametrize(
    ("width", "height", "shape", "expected"),
    [
        (1920, 1080, 1.0, (160, 90)),
        (1080, 1920, 1.0, (90, 160)),
        (720, 576, 64 / 45, (160, 90)),
        (64, 64, 1.0, (160, 160)),
        (16384, 2, 1.0, (160, 2)),
        (2, 16384, 10.0, (2, 160)),
    ],
)
def test_size(width: int, height: int, shape: float, expected: tuple[int, int]) -> None:
    """The longer side is always as long, the shape that of the film, as far as there are pixels for it."""
    assert expected == fitted(width, height, shape)
