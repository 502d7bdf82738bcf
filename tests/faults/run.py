"""
Carries out the units of a piece, some beside each other, and keeps what they found.
"""

import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import Empty, SimpleQueue

from tests.faults.rig import Bench, beside
from tests.faults.table import Found, Piece
from tests.faults.warm import OriginalGone

KEPT_SEEDS = Path(__file__).with_name("seeds.txt")
"""What failed once: a line each with piece, unit and seed. Always run again, first."""
ORIGIN_UNITS = 40
"""After so many units an origin is replaced by a fresh one: its journal only grows."""


def seed_of(seed: str, piece: Piece, unit: str) -> str:
    """
    A unit's own seed, the same however many run beside it.
    """
    return f"{seed}/{piece.name}/{unit}"


def kept(piece: Piece) -> list[tuple[str, str]]:
    """
    The units of a piece, with their seeds, that failed once.
    """
    lines = [line.split() for line in KEPT_SEEDS.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return [(words[1], words[2]) for words in lines if words and words[0] == piece.name]


def keep(piece: Piece, unit: str, seed: str) -> None:
    """
    Put a failed unit on the list.
    """
    if (unit, seed) not in kept(piece):
        with KEPT_SEEDS.open("a", encoding="utf-8") as file:
            file.write(f"{piece.name} {unit} {seed}\n")


def attempt(piece: Piece, ready: Bench, unit: str, seed: str) -> Found:
    """
    Run one unit; whatever goes wrong with it is something it found.
    """
    try:
        return piece.run(ready, unit, seed)
    except OriginalGone:  # what failed is the harness, not the unit
        raise
    except Exception as error:  # the harness must live on, whatever a broken service does to one cycle
        return Found(faults=1, violations=(f"{type(error).__name__}: {error}"[:2000],), story=traceback.format_exc())


def carry_out(
    piece: Piece,
    ready: Bench,
    units: Sequence[tuple[str, str]],
    *,
    jobs: int,
    told: Callable[[str, str, Found, float], None],
    deadline: float = float("inf"),
) -> None:
    """
    Run units, each given with its seed, on as many benches as `jobs`. `told` hears of each that ended. None is begun
    after `deadline`, in seconds of `time.monotonic`.
    """
    waiting: SimpleQueue[tuple[str, str]] = SimpleQueue()
    for each in units:
        waiting.put(each)
    turn = threading.Lock()

    def work() -> None:
        with _origins(ready) as mine:
            while time.monotonic() < deadline:
                try:
                    unit, seed = waiting.get_nowait()
                except Empty:
                    return
                begun = time.monotonic()
                found = attempt(piece, mine(), unit, seed)
                with turn:
                    told(unit, seed, found, time.monotonic() - begun)

    with ThreadPoolExecutor(jobs) as workers:
        for worker in [workers.submit(work) for _ in range(jobs)]:
            worker.result()


@contextmanager
def _origins(ready: Bench) -> Iterator[Callable[[], Bench]]:
    """
    A bench of one's own, with a fresh origin from time to time.
    """
    with ExitStack() as stack:
        used, current = ORIGIN_UNITS, ready

        def mine() -> Bench:
            nonlocal used, current
            if used == ORIGIN_UNITS:
                stack.close()
                used, current = 0, stack.enter_context(beside(ready))
            used += 1
            return current

        yield mine


def every_unit(piece: Piece, ready: Bench, seed: str, *, gate: bool) -> list[tuple[str, str]]:
    """
    What a tier has of a piece, each unit with its seed; what failed once comes first.
    """
    drawn = [(unit, seed_of(seed, piece, unit)) for unit in piece.units(ready, gate, seed)]
    return [*kept(piece), *drawn]
