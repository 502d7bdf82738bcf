"""
``twistd m3u8svc`` whose turns are watched: ``python -I watched.py TURNS -- twistd …``. Each turn of its reactor that
takes more than `NOTED_S` is a line of TURNS: the processor time it took and how long it was in all, in seconds. What
other processes of a busy machine take shows in the second only.
"""

import sys
import time
from typing import Any

NOTED_S = 0.01


class WatchedPoll:
    """
    The reactor's epoll; what lies between two calls of `poll` is a turn.
    """

    def __init__(self, real: Any, turns: str) -> None:
        self._real = real
        self._turns = turns
        self._woke: tuple[float, float] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def poll(self, *arguments: Any) -> Any:
        """A turn ends; the next begins when this returns."""
        if self._woke is not None:
            used, took = time.thread_time() - self._woke[0], time.perf_counter() - self._woke[1]
            if took > NOTED_S:
                with open(self._turns, "a", encoding="ascii") as file:
                    file.write(f"{used:.6f} {took:.6f}\n")
        events = self._real.poll(*arguments)
        self._woke = time.thread_time(), time.perf_counter()
        return events


def main(turns: str, command: list[str]) -> None:
    """
    Arrange that, then be the service.
    """
    from twisted.internet import epollreactor

    real = epollreactor.epoll
    epollreactor.epoll = lambda *sizes: WatchedPoll(real(*sizes), turns)
    from twisted.scripts.twistd import run

    sys.argv = command
    run()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[3:])
