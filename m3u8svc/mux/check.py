"""
The checking child: ``python -I -m m3u8svc.mux.check PARENT_PID``. Reads one order, a JSON line ``{"path", "decode"}``;
looks at that file with its boxes' own words and with libav, and writes what it found as one JSON object.

Exit status 0: the file was looked at, however it is. Anything else is a death.
"""

import json
import os
import sys
from typing import Any, BinaryIO  # Any: JSON values, and what PyAV types by kind

from m3u8svc.mux.box import close_box, enter_box
from m3u8svc.mux.fmp4 import BrokenBoxes
from m3u8svc.mux.verify import EMPTY_TEXT_BYTES, WrittenFile, read_back

KINDS = {"vide": "video", "soun": "audio"}


def examine(file: BinaryIO, *, decode: bool) -> dict[str, Any]:
    """
    Everything there is to say about an MP4: what it says of itself, what libav reads of it, and where they differ.
    `decode` also decodes every packet of video and audio.
    """
    size = os.fstat(file.fileno()).st_size
    found: dict[str, Any] = {"size": size, "duration_s": 0.0, "av_drift_s": None, "tracks": [], "problems": []}
    try:
        written = read_back(lambda length, at: os.pread(file.fileno(), length, at), size)
        found["duration_s"] = round(written.duration_s, 6)
        found["tracks"] = _tracks(file, written, decode=decode)
    except BrokenBoxes as error:
        found["problems"].append({"code": "broken", "got": str(error)})
        return found
    found["av_drift_s"] = _drift(found["tracks"])
    found["problems"] += _problems(found["tracks"])
    return found


def _tracks(file: BinaryIO, written: WrittenFile, *, decode: bool) -> list[dict[str, Any]]:
    import av  # inside the box
    import av.error

    tracks: list[dict[str, Any]] = [
        {
            "kind": KINDS.get(track.kind, track.kind),
            "samples": track.samples,
            "duration_s": round(track.duration_s, 6),
            **dict.fromkeys(("packets", "keyframes", "frames", "decode_errors", "disorder"), 0),
        }
        for track in written.tracks
    ]
    try:
        with av.open(file, format="mp4") as container:
            for track, stream in zip(tracks, container.streams, strict=True):
                track["codec"] = stream.codec_context.name if stream.codec_context else ""
                base = float(stream.time_base or 0)
                track["start_s"] = round((stream.start_time or 0) * base, 6)
                track["length_s"] = round((stream.duration or 0) * base, 6)
        # Without edit lists, so that every sample that the tables name is read.
        with av.open(file, format="mp4", options={"ignore_editlist": "1"}) as container:
            _read(container, tracks, decode=decode)
    except (av.error.FFmpegError, ValueError) as error:
        raise BrokenBoxes(str(error)) from error
    return tracks


def _read(container: Any, tracks: list[dict[str, Any]], *, decode: bool) -> None:
    import av.error

    last: dict[int, int] = {}
    for packet in container.demux():
        track = tracks[packet.stream.index]
        # Between cues a text track has samples that say nothing: `WrittenFile` does not count them either.
        if packet.size > (EMPTY_TEXT_BYTES if track["kind"] == "sbtl" else 0):
            track["packets"] += 1
            track["keyframes"] += bool(packet.is_keyframe)
            if packet.dts is not None:
                track["disorder"] += packet.dts < last.get(packet.stream.index, packet.dts)
                last[packet.stream.index] = packet.dts
        if decode and track["kind"] in KINDS.values():
            try:
                frames = packet.decode()  # an empty packet, at the end, flushes
            except av.error.EOFError:
                continue
            except av.error.FFmpegError:
                track["decode_errors"] += 1
                continue
            track["frames"] += len(frames)
            track["decode_errors"] += sum(bool(getattr(frame, "is_corrupt", False)) for frame in frames)


def _drift(tracks: list[dict[str, Any]]) -> float | None:
    """
    How much later the picture ends than the sound.
    """
    ends = {track["kind"]: track["start_s"] + track["length_s"] for track in reversed(tracks)}
    return round(ends["video"] - ends["audio"], 6) if {"audio", "video"} <= ends.keys() else None


def _problems(tracks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    problems: list[dict[str, Any]] = []
    if not tracks:
        problems.append({"code": "no_tracks"})
    for number, track in enumerate(tracks, 1):
        if track["packets"] != track["samples"] or not track["samples"]:
            problems.append({"code": "packets", "track": number, "expected": track["samples"], "got": track["packets"]})
        problems += [
            {"code": code, "track": number, "got": track[name]}
            for code, name in (("decode", "decode_errors"), ("order", "disorder"))
            if track[name]
        ]
    return problems


def main() -> int:
    """
    One file.
    """
    answers = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints goes to standard error
    missing = enter_box(int(sys.argv[1]))
    import av  # its libraries, while they can be found
    import av.error  # noqa: F401

    order = json.loads(sys.stdin.readline())
    with open(order["path"], "rb") as file:
        box = close_box(missing, read=())
        found = {"box": box, **examine(file, decode=order["decode"])}
    with open(answers, "w", encoding="ascii") as output:
        json.dump(found, output)
    return 0


if __name__ == "__main__":
    # Skip interpreter shutdown: libav objects in reference cycles are freed in no particular order there.
    status = main()
    sys.stderr.flush()
    os._exit(status)
