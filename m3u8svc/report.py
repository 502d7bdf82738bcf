"""
What a task says of its streams and of the segments it left out: warnings for people, the origin's skip list, and what
the report of completeness is made of. Pure, but for `evidence_of`.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Set
from pathlib import Path
from typing import Any  # Any: JSON values

import attrs

from m3u8svc.download import Download, LeftOut, segment_label
from m3u8svc.errors import PlaylistChanged
from m3u8svc.hls.plan import DownloadPlan, Place
from m3u8svc.hls.playlist import MAIN, Presentation, Stream
from m3u8svc.hls.rematch import Comparison
from m3u8svc.nofollow import read_file
from m3u8svc.offerings import Note, Skip, TrackInfo
from m3u8svc.redact import escape_controls, redact_url
from m3u8svc.tasks.completeness import Evidence, Line, Lost, Report
from m3u8svc.tasks.ledger import SegmentRow
from m3u8svc.wire import MOST_HOSTS
from m3u8svc.wording import Said, each_of, joined, said

MOST_NOTES = 20
MOST_WARNINGS = 1000
"""Of one task: they are in its row, and in every answer about it."""
POISONED = Said("合并进程两次在此退出，按缺失处理", "the merge process died here twice; taken as missing")


def track_info(stream: Stream) -> TrackInfo:
    """
    A stream of the presentation as a merger must know it.
    """
    rendition = stream.rendition
    if rendition is None:
        return TrackInfo(track=stream.track, kind="main", default=True)
    return TrackInfo(
        track=stream.track,
        kind="subtitles" if rendition.type == "SUBTITLES" else "audio",
        language=rendition.language or "",
        name=rendition.name,
        default=rendition.default,
        forced=rendition.forced,
    )


def warnings_of(presentation: Presentation, plan: DownloadPlan) -> list[str]:
    """
    What was assumed of the playlists, each rendition's under its track's name, and what is declared missing.
    """
    warnings = list(presentation.warnings)
    for stream in presentation.streams:
        warnings += [_of(stream.track, text) for text in stream.playlist.warnings]
        if stream.track not in plan.tracks:
            zh, en = "{track} 中没有可下载的分片，未写入", "nothing of {track} can be downloaded, it is left out"
            warnings.append(said(zh, en, track=stream.track))
    zh, en = "第 {n} 个分片在播放列表中标为缺失（GAP）", "segment {n} is declared missing in the playlist (GAP)"
    warnings += [_of(each.track, said(zh, en, n=each.position)) for each in plan.absent if each.declared]
    return warnings


def withheld_headers(withheld: Mapping[str, Set[str]]) -> list[Said]:
    """
    A warning for each header that did not go everywhere, with some of the hosts it did not go to.
    """
    warnings = []
    for name, hosts in sorted(withheld.items()):
        some = joined(sorted(map(escape_controls, hosts))[:MOST_HOSTS], zh="、", en=", ")
        if len(hosts) > MOST_HOSTS:
            some = said("{some} 等", "{some} and others", some=some)
        warnings.append(
            said(
                "请求头 {name} 未发送到其他站点：{some}（可用 header_hosts 允许）",
                "the header {name} was not sent to other sites: {some} (header_hosts allows it)",
                name=escape_controls(name),
                some=some,
            )
        )
    return warnings


def changed_playlist(track: str, comparison: Comparison) -> PlaylistChanged:
    """
    That a playlist is not the one of the last run, and what it means for what was fetched.
    """
    before, now, kept, dropped = comparison.before, comparison.now, comparison.kept, len(comparison.dropped)
    lists = Said(f"原有 {before} 个分片，现有 {now} 个", f"{now} segments instead of {before}")
    files = Said(f"沿用已下载的 {kept} 个，作废 {dropped} 个", f"of those fetched, {kept} kept, {dropped} dropped")
    return PlaylistChanged(track=track, line=0, reason=joined([lists, files], zh="；"))


def bounded(warnings: Iterable[str]) -> tuple[str, ...]:
    """
    Each warning once, and how many more there are. A stream may have one for each of a hundred thousand segments; the
    report names them all.
    """
    each = tuple(dict.fromkeys(warnings))
    if len(each) <= MOST_WARNINGS + 1:
        return each
    more = len(each) - MOST_WARNINGS
    return (*each[:MOST_WARNINGS], Said(f"另有 {more} 条警告未列出，见报告", f"{more} more warnings, see the report"))


def evidence_of(
    presentation: Presentation,
    whole: DownloadPlan,
    plan: DownloadPlan,
    download: Download,
    ledger: Mapping[tuple[str, int], SegmentRow],
    details: Mapping[str, Any],
    past: Report | None,
) -> Evidence:
    """
    What a finished download knows of its segments, for the report. `ledger` are the rows of earlier runs, `past` is the
    report of the result that this one replaces. Files whose digest nobody noted are read. Blocking.
    """
    rows = _Rows(download, ledger)
    lost = {
        (each.track, each.segment.position): Lost(reason=each.reason, attempts=each.attempts) for each in download.lost
    }
    for track, position, reason in unusable_of(details):
        lost[track, position] = Lost(reason=reason, attempts=rows[track, position].attempts)
    inits = {identity: _digest(path) for identity, path in sorted(download.init_paths().items())}
    return Evidence(
        presentation=presentation,
        whole=whole,
        plan=plan,
        rows=rows,
        lost=lost,
        sources=download.sources,
        inits={identity: digest for identity, digest in inits.items() if digest},
        details=details,
        past={} if past is None else _unless(rows, past.lines()),
    )


def _unless(rows: Mapping[Place, SegmentRow], lines: Iterable[Line]) -> dict[Place, Line]:
    """
    The lines of segments that there is no row of.
    """
    placed = (((line.track, line.position), line) for line in lines)
    return {place: line for place, line in placed if place not in rows}


class _Rows(Mapping[Place, SegmentRow]):
    """
    How each segment ended, with what earlier runs knew of it; put together when somebody asks, since there may be a
    hundred thousand. A file whose digest nobody noted is read then.
    """

    def __init__(self, download: Download, ledger: Mapping[Place, SegmentRow]) -> None:
        self._download = download
        self._ledger = ledger

    def __getitem__(self, place: Place) -> SegmentRow:
        row, before = self._download.rows[place], self._ledger.get(place)
        if before is not None and (before.identity, before.size_bytes) == (row.identity, row.size_bytes):
            digest, reason = row.digest or before.digest, row.reason or before.reason
            row = attrs.evolve(row, attempts=before.attempts, digest=digest, reason=reason)
        if row.outcome == "done" and not row.digest and (file := self._download.file(place)) is not None:
            row = attrs.evolve(row, digest=_digest(file.path))
        return row

    def __contains__(self, place: object) -> bool:
        return place in self._download.rows

    def __iter__(self) -> Iterator[Place]:
        return iter(self._download.rows)

    def __len__(self) -> int:
        return len(self._download.rows)


def unusable_of(details: Mapping[str, Any]) -> list[tuple[str, int, str]]:
    """
    Track, position and reason of each segment that was there and is not in the result, as its merger says.
    """
    poisoned = [(each["track"], each["n"], POISONED) for each in details.get("poisoned", ())]
    return poisoned + [(each["track"], each["n"], each["reason"]) for each in details.get("lost", ())]


def silent_tracks(tracks: Iterable[TrackInfo], details: Mapping[str, Any]) -> list[str]:
    """
    Audio renditions of which the result holds nothing, if its merger tells what it holds.
    """
    if "tracks" not in details:
        return []
    heard = {each["track"] for each in details["tracks"] if each["packets"] > each.get("silent", 0)}
    return [track.track for track in tracks if track.kind == "audio" and track.track not in heard]


def _digest(path: Path) -> str:
    try:
        with read_file(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:  # merged and deleted already, where the disk is small
        return ""


def _of(track: str, text: str) -> str:
    return text if track == MAIN else said("{track}：{text}", "{track}: {text}", track=track, text=text)


def skips_within(answer: Iterable[Skip | Note], count: int) -> dict[int, str]:
    """
    The reasons by position, of positions that a playlist of `count` segments has.
    """
    return {each.position: each.reason for each in answer if isinstance(each, Skip) and 1 <= each.position <= count}


def notes_of_plugin(plugin: str, answer: Iterable[Skip | Note]) -> list[Said]:
    """
    A warning for each note.
    """
    notes = [each.reason for each in answer if isinstance(each, Note)]
    zh, en = "插件 {plugin}：{note}", "plugin {plugin}: {note}"
    return [said(zh, en, plugin=plugin, note=_plain(reason, 500)) for reason in notes[:MOST_NOTES]]


def skipped_by_plugin(plugin: str, skips: Mapping[int, str]) -> list[Said]:
    """
    A warning for each reason a plugin gave.
    """
    by_reason: dict[Said, list[int]] = {}
    plain: dict[str, Said] = {}  # there may be a hundred thousand of few reasons
    for position, reason in sorted(skips.items()):
        if reason not in plain:
            plain[reason] = _plain(reason, 200)
        by_reason.setdefault(plain[reason], []).append(position)
    named = list(by_reason.items())[:MOST_NOTES]
    left = sum(len(positions) for positions in by_reason.values()) - sum(len(positions) for _, positions in named)
    zh, en = "插件 {plugin} 还跳过了 {left} 个分片", "plugin {plugin} skipped {left} more segments"
    more = [said(zh, en, plugin=plugin, left=left)] if left else []
    zh = "插件 {plugin} 跳过了 {count} 个分片：{ranges}（{reason}）"
    en = "plugin {plugin} skipped {count} segments: {ranges} ({reason})"
    return more + [
        said(zh, en, plugin=plugin, count=len(positions), ranges=ranges(positions), reason=reason)
        for reason, positions in named
    ]


def _plain(text: str, characters: int) -> Said:
    """
    What a plugin says, as a part of a line.
    """
    return each_of(text, lambda each: escape_controls(each)[:characters])


def ranges(positions: Iterable[int]) -> Said:
    """
    Positions as people write them: ``1、5-7``.
    """
    spans: list[list[int]] = []
    for position in sorted(positions):
        if spans and spans[-1][1] == position - 1:
            spans[-1][1] = position
        else:
            spans.append([position, position])
    return joined((str(first) if first == last else f"{first}-{last}" for first, last in spans), zh="、", en=", ")


def left_out_by_status(download: Download) -> list[str]:
    """
    What the server decided by its answers: it is named, whoever allowed it.
    """
    if not download.skipped:
        return []
    by_track: dict[str, list[int]] = {}
    for each in _in_order(download.skipped):
        by_track.setdefault(each.track, []).append(each.segment.position)
    zh, en = "按 http.code 跳过了 {count} 个分片：{ranges}", "http.code skipped {count} segments: {ranges}"
    return [
        _of(track, said(zh, en, count=len(positions), ranges=ranges(positions)))
        for track, positions in by_track.items()
    ]


def _in_order(left_out: Iterable[LeftOut]) -> list[LeftOut]:
    """By track and position: they were found in whatever order the server answered."""
    return sorted(left_out, key=lambda each: (each.track != MAIN, each.track, each.segment.position))


def skip_list(plan: DownloadPlan, download: Download) -> str:
    """
    The origin's skip.txt (origin-semantics 2.5), with sections of ours for what the expression left out and
    for what was given up.
    """
    lines = []
    if download.skipped:
        lines.append("skipByHttpCode")
        lines += [
            f"filename={segment_label(each.track, each.segment.position)},url={redact_url(each.segment.uri)}"
            f"，http.code={each.status}"
            for each in _in_order(download.skipped)
        ]
    dropped = [absent for absent in plan.absent if not absent.declared]
    if dropped:
        lines.append("skipByExpression")
        lines += [f"filename={segment_label(each.track, each.position)},reason={each.reason}" for each in dropped]
    if download.lost:
        lines.append("skipByFailure")
        lines += [
            f"filename={segment_label(each.track, each.segment.position)},reason={each.reason}"
            for each in _in_order(download.lost)
        ]
    return "".join(f"{line}\n" for line in lines)
