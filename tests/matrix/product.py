"""
Rows made, downloaded and held against their truth, in pieces.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import attrs

from tests.matrix.axes import Row
from tests.matrix.browser import Player, player
from tests.matrix.check import check
from tests.matrix.deliver import Plant, plant
from tests.matrix.streams import Stream, Workshop, make_stream

RESULTS = "results"
JOBS = 2


@attrs.frozen(kw_only=True)
class Verdict:
    """
    What is wrong with a row's result, to ffmpeg and to Chromium; a row without a result has the reason in `problems`.
    """

    row: Row
    problems: tuple[str, ...]
    browser_problems: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems and not self.browser_problems


@attrs.define(kw_only=True)
class Bench:
    """
    Everything a run needs: the encodes, a server with a service, and a Chromium when a row wants one.
    """

    workshop: Workshop
    plant: Plant
    jobs: int
    _get_player: Callable[[], Player]

    def run(self, rows: Sequence[Row]) -> list[Verdict]:
        """The verdict on each of these."""
        with ThreadPoolExecutor(self.jobs) as threads:
            streams = list(threads.map(lambda row: make_stream(row, self.plant.root, self.workshop), rows))
            delivered = self.plant.deliver(streams)
            problems = dict(zip(streams, threads.map(lambda each: _judge(each, delivered[each]), streams), strict=True))
        seen = self._play([stream for stream in streams if stream.row.plays_in_chromium and not problems[stream]])
        return [
            Verdict(row=each.row, problems=tuple(problems[each]), browser_problems=tuple(seen.get(each, ())))
            for each in streams
        ]

    def clear(self, rows: Sequence[Row]) -> None:
        """Throw away the streams of these rows and what was made of them."""
        for row in rows:
            shutil.rmtree(self.plant.root / row.name)
            for result in self.plant.service.saves.glob(f"{row.name}*"):
                result.unlink()

    def _play(self, streams: Sequence[Stream]) -> dict[Stream, list[str]]:
        """What is wrong in the browser with results that are right otherwise."""
        if not streams:
            return {}
        files = {stream: self.plant.service.saves / f"{stream.row.name}.mp4" for stream in streams}
        return self._get_player().check(files, {stream: f"/{RESULTS}/{path.name}" for stream, path in files.items()})


def _judge(stream: Stream, result: Path | str) -> list[str]:
    return [result] if isinstance(result, str) else check(result, stream)


@contextmanager
def bench(place: Path, *, jobs: int = JOBS) -> Iterator[Bench]:
    """
    A bench below `place`, while the block lasts.
    """
    with ExitStack() as stack:
        made = stack.enter_context(plant(place))
        (made.root / RESULTS).symlink_to(made.service.saves)
        players: list[Player] = []

        def get_player() -> Player:
            if not players:
                players.append(stack.enter_context(player(made.root, made.server.base)))
            return players[0]

        yield Bench(workshop=Workshop(place / "encodes"), plant=made, jobs=jobs, get_player=get_player)
