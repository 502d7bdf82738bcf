"""
The pieces of the harness, in the order in which they run.
"""

from tests.faults import day, diskfull, kills, mutations, powercuts, soak, syscalls
from tests.faults.table import Piece

PIECES: tuple[Piece, ...] = (
    kills.PIECE,
    syscalls.KILLS,
    syscalls.ERRORS_PIECE,
    powercuts.PIECE,
    diskfull.PIECE,
    mutations.PIECE,
    soak.PIECE,
    day.PIECE,
)
