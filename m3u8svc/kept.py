"""
Segments that the user keeps: ``<save_location>/<name>/00001.ts …`` with a playlist that plays locally. Those of a
rendition are ``audio1-00001.aac …`` with ``audio1.m3u8``; then ``master.m3u8`` plays all of it together.

The directory is built beside its end place under a hidden name, from hard links where the file system has them, and
renamed when it is whole. Its playlist carries the task's id, so that a run after a crash recognises its own work. The
work directory stays as it was. All blocking: callers run these in threads.
"""

import errno
import hashlib
import os
import re
import stat
from collections.abc import Callable, Container, Iterable, Sequence
from pathlib import Path

import attrs

from m3u8svc.hls.playlist import MAIN
from m3u8svc.nofollow import Folder, read_file
from m3u8svc.offerings import MediaFile, TrackInfo
from m3u8svc.places import TRIES, publish_path
from m3u8svc.tasks.completeness import Report
from m3u8svc.tasks.names import numbered

PLAYLIST = "index.m3u8"
MASTER = "master.m3u8"
FILE_LIST = "filelist.txt"
_SUFFIX = {"ts": ".ts", "fmp4": ".m4s", "aac": ".aac", "mp3": ".mp3", "ac3": ".ac3", "vtt": ".vtt"}
_KIND = {suffix: kind for kind, suffix in _SUFFIX.items()}
# Names we give and no others: a list that somebody edited leads nowhere else.
_TRACK = r"(?:audio|subtitles)\d{1,5}"
_OURS_IN_LIST = re.compile(
    rf"^file ((?:{_TRACK}-)?\d{{5,}}(?:{'|'.join(re.escape(suffix) for suffix in _SUFFIX.values())}))$", re.M
)
_OURS_IN_PLAYLIST = re.compile(r'^#EXT-X-MAP:URI="(init-\d+\.mp4)"$', re.M)
_OURS_IN_MASTER = re.compile(rf'^#EXT-X-MEDIA:.*URI="({_TRACK}\.m3u8)"$', re.M)


@attrs.frozen(kw_only=True)
class Kept:
    """
    The published directory and the bytes of media in it.
    """

    path: Path
    size_bytes: int


def keep_segments(
    files: Sequence[MediaFile], directory: Path, name: str, task_id: str, tracks: Sequence[TrackInfo] = ()
) -> Kept:
    """
    Publish decrypted segments as a directory of their own. One that an earlier run made is used, and completed if it
    lacks some, as after segments were left out by status. `tracks` describes those of the files, "main" first.
    """
    found = find_kept(directory, name, task_id)
    if found is None or _listed(files) != _text(found / FILE_LIST):
        hidden = _hidden(directory, task_id)
        forget_kept(directory, task_id)
        with Folder.at(hidden, made_with=0o755) as folder:
            _fill(folder, files, task_id, tracks)
        if found is None:
            found = publish_path(hidden, directory, name, "")
        else:
            _complete(found, hidden)
    return Kept(path=found, size_bytes=sum(file.size_bytes for file in files))


def bring_back(kept: Path, report: Report, work: Path) -> list[str]:
    """
    Give a work directory the segments that were kept, under the names by which a download finds them, with the init
    sections they need. Only those that are still what was written: the task's `report` knows the digests. Returns the
    names of those that are not. Blocking.
    """
    folder = Folder.at(work, made_with=0o700)
    there = {(track, position): (name, init) for track, position, name, init in _kept_files(kept)}
    wanted = dict(report.inits)
    damaged: list[str] = []
    for line in report.lines():
        name, init = there.get((line.track, line.position), ("", ""))
        if not line.sha256 or not name:
            continue
        digest = wanted.pop(line.init, None)  # once for each init section
        if digest is not None and not _bring(kept / init, digest, folder, f"init-{line.init}.mp4"):
            damaged.append(init)
        kind = _KIND[os.path.splitext(name)[1]]
        if not _bring(kept / name, line.sha256, folder, f"{line.position:08d}-{line.identity}.{kind}"):
            damaged.append(name)
    return damaged


def _bring(source: Path, digest: str, folder: Folder, name: str) -> bool:
    if folder.holds(name):
        return True
    try:
        with read_file(source) as file:
            same = digest == hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:  # gone, or no file any more: it is fetched again
        return False
    if same:
        _link(source, folder, name)
    return same


def _kept_files(kept: Path) -> Iterable[tuple[str, int, str, str]]:
    """
    Track, position, name and init section of every segment that the lists of a kept directory name.
    """
    tracks = {PLAYLIST: MAIN} | {
        each: each.removesuffix(".m3u8") for each in _OURS_IN_MASTER.findall(_text(kept / MASTER))
    }
    for playlist, track in tracks.items():
        init = ""
        for line in _text(kept / playlist).splitlines():
            if found := _OURS_IN_PLAYLIST.fullmatch(line):
                init = found[1]
            elif _OURS_IN_LIST.fullmatch(f"file {line}"):
                yield track, _position_in(line), line, init


def _link(source: Path, folder: Folder, name: str) -> None:
    """
    The same file under another name, or a copy of it: whole or not at all.
    """
    try:
        with Folder.at(source.parent) as here:
            here.link(source.name, name, folder)
    except FileExistsError:
        return
    except OSError as error:  # another file system, or one without hard links: copy, which raises if that fails too
        if error.errno == errno.ELOOP:
            raise
        with read_file(source) as original:
            folder.copy(original, f"{name}.part")  # under its name a file is believed to be whole (DESIGN 6)
        folder.rename(f"{name}.part", name)


def forget_kept(directory: Path, task_id: str) -> None:
    """
    Remove what a run that did not end left of a directory.
    """
    hidden = _hidden(directory, task_id).name
    try:
        folder = Folder.at(directory)
    except (FileNotFoundError, NotADirectoryError):
        return
    with folder:
        if folder.holds(hidden) and not stat.S_ISREG(folder.status(hidden).st_mode):
            folder.remove_tree(hidden)


def remove_kept(path: Path) -> None:
    """
    Remove what we put into a published directory, by its own lists, and the directory if that was all there was. What
    somebody else put there stays, and so does a directory without our lists.
    """
    others = _OURS_IN_MASTER.findall(_text(path / MASTER))
    listed = _OURS_IN_LIST.findall(_text(path / FILE_LIST))
    for playlist in (*others, PLAYLIST):
        listed += _OURS_IN_PLAYLIST.findall(_text(path / playlist))
    try:
        folder = Folder.at(path)
    except (FileNotFoundError, NotADirectoryError):
        return
    with folder:
        # The playlist last: it says whose the directory is.
        for name in [*listed, *others, *([MASTER] if others else []), FILE_LIST, PLAYLIST]:
            if folder.holds(name) and not stat.S_ISDIR(folder.status(name).st_mode):  # a directory is not ours
                folder.remove(name)
    try:
        with Folder.at(path.parent) as above:
            above.remove_directory(path.name)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT, errno.ENOTDIR):  # the last: a link to it
            raise


def _text(path: Path) -> str:
    try:
        with read_file(path) as file:
            return file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""


def _complete(found: Path, hidden: Path) -> None:
    """
    Move everything of `hidden` into `found`, the lists last; what somebody put there besides stays.
    """
    with Folder.at(found) as into, Folder.at(hidden) as here, Folder.at(hidden.parent) as above:
        for name in sorted(here.names(), key=lambda name: name in (PLAYLIST, FILE_LIST)):
            here.rename(name, name, into)
        into.sync()
        above.remove_tree(hidden.name)  # not empty: a link is not renamed over another link to the same file


def _hidden(directory: Path, task_id: str) -> Path:
    return directory / f".{task_id}.part.segments"


def _fill(folder: Folder, files: Sequence[MediaFile], task_id: str, tracks: Sequence[TrackInfo]) -> None:
    inits: dict[Path, str] = {}
    for file in files:
        if file.init is not None and file.init not in inits:
            inits[file.init] = f"init-{len(inits) + 1}.mp4"
            _copy(file.init, folder, inits[file.init])
        _copy(file.path, folder, segment_name(file))
    _write(folder, FILE_LIST, _listed(files))
    others = [track for track in tracks if track.track != MAIN]
    for track in others:
        own = [file for file in files if file.track == track.track]
        _write(folder, f"{track.track}.m3u8", "\n".join(_playlist(own, inits, task_id)) + "\n")
    if others:
        seconds = sum(file.duration_s for file in files if file.track == MAIN) or 1.0
        bandwidth = round(sum(file.size_bytes for file in files) * 8 / seconds)
        links = [f"{track.track}.m3u8" for track in others]
        _write(folder, MASTER, "\n".join(master_of(others, links, PLAYLIST, bandwidth)) + "\n")
    main = [file for file in files if file.track == MAIN]
    _write(folder, PLAYLIST, "\n".join(_playlist(main, inits, task_id)) + "\n")
    folder.sync()


def _listed(files: Sequence[MediaFile]) -> str:
    return "".join(f"file {segment_name(file)}\n" for file in files)


def segment_name(file: MediaFile) -> str:
    """
    ``00017.ts``: the position, and what it holds; of a rendition ``audio1-00017.aac``.
    """
    where = "" if file.track == MAIN else f"{file.track}-"
    return f"{where}{file.position:05d}{_SUFFIX[file.kind]}"


def master_of(others: Sequence[TrackInfo], links: Sequence[str], main: str, bandwidth: int) -> Iterable[str]:
    """
    The lines of a multivariant playlist of the playlist at `main` with renditions at `links`, in their order.
    """
    yield "#EXTM3U"
    groups = {}
    for number, (track, link) in enumerate(zip(others, links, strict=True), 1):
        kind = "SUBTITLES" if track.kind == "subtitles" else "AUDIO"
        groups[kind] = kind.lower()
        named = f",LANGUAGE={_quoted(track.language)}" if track.language else ""
        flags = f",DEFAULT={_yes(track.default)},AUTOSELECT=YES" + (",FORCED=YES" if track.forced else "")
        name = _quoted(track.name or f"{number}")
        yield f'#EXT-X-MEDIA:TYPE={kind},GROUP-ID="{groups[kind]}",NAME={name}{named}{flags},URI="{link}"'
    yield f"#EXT-X-STREAM-INF:BANDWIDTH={bandwidth}" + "".join(f',{kind}="{group}"' for kind, group in groups.items())
    yield main


def _quoted(value: str) -> str:
    return '"' + "".join(character for character in value if character.isprintable() and character != '"') + '"'


def _yes(value: bool) -> str:
    return "YES" if value else "NO"


@attrs.frozen(kw_only=True)
class LocalSegment:
    """
    One segment of a playlist that plays decrypted files: `splice` is the discontinuity sequence number, `init` the link
    of the init section, "" for none.
    """

    position: int
    duration_s: float
    splice: int
    init: str
    link: str


def _playlist(files: Sequence[MediaFile], inits: dict[Path, str], task_id: str) -> Iterable[str]:
    longest = max((file.duration_s for file in files), default=0.0)
    listed = (
        LocalSegment(
            position=file.position,
            duration_s=file.duration_s,
            splice=file.discontinuity_sequence,
            init="" if file.init is None else inits[file.init],
            link=segment_name(file),
        )
        for file in files
    )
    return media_of(listed, longest_s=longest, has_inits=bool(inits), task_id=task_id)


def media_of(segments: Iterable[LocalSegment], *, longest_s: float, has_inits: bool, task_id: str) -> Iterable[str]:
    """
    The lines of a media playlist of these. Where one is left out in between, there is a discontinuity.
    """
    yield "#EXTM3U"
    yield f"# m3u8svc task {task_id}"
    yield f"#EXT-X-VERSION:{6 if has_inits else 3}"
    yield f"#EXT-X-TARGETDURATION:{max(1, round(longest_s + 0.4999))}"
    yield "#EXT-X-MEDIA-SEQUENCE:1"
    yield "#EXT-X-PLAYLIST-TYPE:VOD"
    previous: LocalSegment | None = None
    for segment in segments:
        broken = previous is not None and (
            segment.splice != previous.splice or segment.position != previous.position + 1
        )
        if broken:
            yield "#EXT-X-DISCONTINUITY"
        if segment.init and (previous is None or previous.init != segment.init):
            yield f'#EXT-X-MAP:URI="{segment.init}"'
        yield f"#EXTINF:{segment.duration_s:.6f},"
        yield segment.link
        previous = segment
    yield "#EXT-X-ENDLIST"


def served_playlist(
    kept: Path, track: int | None, link: Callable[[int, int, bool], str], listed: Callable[[int], str]
) -> str:
    """
    The playlist of one track of a kept directory with other links, which `link` makes of track, position, and whether
    it is about the init section. Without `track`: that of all tracks, if there are several, at the links that `listed`
    makes of them. "" if there is no such track. Blocking.
    """
    master = _text(kept / MASTER)
    others = _OURS_IN_MASTER.findall(master)
    if track is None and others:
        renamed = {name: listed(number) for number, name in enumerate([PLAYLIST, *others])}

        def relinked(found: re.Match[str]) -> str:
            return found[0].replace(f'URI="{found[1]}"', f'URI="{renamed[found[1]]}"')

        text = _OURS_IN_MASTER.sub(relinked, master)
        return text.replace(f"\n{PLAYLIST}\n", f"\n{renamed[PLAYLIST]}\n")
    number = track or 0
    names = [PLAYLIST, *others]
    if number >= len(names):
        return ""
    lines: list[str] = []
    init_at = -1
    for line in _text(kept / names[number]).splitlines():
        if _OURS_IN_LIST.fullmatch(f"file {line}"):
            position = _position_in(line)
            if init_at >= 0:
                lines[init_at] = f'#EXT-X-MAP:URI="{link(number, position, True)}"'
                init_at = -1
            lines.append(link(number, position, False))
        else:
            if _OURS_IN_PLAYLIST.fullmatch(line):
                init_at = len(lines)
            lines.append(line)
    return "\n".join(lines) + "\n"


def kept_piece(kept: Path, track: int, position: int, *, init: bool) -> Path | None:
    """
    A segment of a kept directory, or its init section; None if it is not there. Blocking.
    """
    others = [each.removesuffix(".m3u8") for each in _OURS_IN_MASTER.findall(_text(kept / MASTER))]
    if track > len(others):
        return None
    name = [MAIN, *others][track]
    if init:
        found = (each for of, at, _, each in _kept_files(kept) if (of, at) == (name, position))
        return next((kept / each for each in found if each), None)
    prefix = "" if name == MAIN else f"{name}-"
    candidates = [kept / f"{prefix}{position:05d}{suffix}" for suffix in _KIND]
    return next((each for each in candidates if each.is_file()), None)


def kind_of_file(path: Path) -> str:
    """
    What a kept file is, by its name; an init section is fMP4's.
    """
    return _KIND.get(path.suffix, "fmp4")


def kept_positions(kept: Path, kinds: Container[str]) -> frozenset[int]:
    """
    The positions of the main track's segments of these kinds that a kept directory lists. Blocking.
    """
    return frozenset(
        position
        for track, position, name, _init in _kept_files(kept)
        if track == MAIN and _KIND[os.path.splitext(name)[1]] in kinds
    )


def _position_in(name: str) -> int:
    return int(name.rpartition("-")[2].partition(".")[0])


def find_kept(directory: Path, name: str, task_id: str) -> Path | None:
    """
    The directory an earlier run of this task published, if it did.
    """
    for number in range(TRIES):
        candidate = directory / numbered(name, number)
        try:
            with read_file(candidate / PLAYLIST) as playlist:
                if f"# m3u8svc task {task_id}\n".encode() in playlist.readlines(4096)[:2]:
                    return candidate
        except OSError:
            if not os.path.lexists(candidate):
                return None
    return None


def _copy(source: Path, folder: Folder, name: str) -> None:
    try:
        with Folder.at(source.parent) as here:
            here.link(source.name, name, folder)
    except OSError as error:  # another file system, or one without hard links: copy, which raises if that fails too
        if error.errno in (errno.ELOOP, errno.EEXIST):
            raise
        with read_file(source) as original:
            folder.copy(original, name)
    with folder.read(name) as file:
        os.fchmod(file.fileno(), 0o644)  # in the work directory it was ours alone
        os.fsync(file.fileno())


def _write(folder: Folder, name: str, text: str) -> None:
    with folder.create(name, 0o644) as file:
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())
