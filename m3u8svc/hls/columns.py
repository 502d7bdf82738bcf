"""
Columns: what many values of one kind have in common is kept once, and what tells them apart side by side.

A playlist may list 200,000 segments. One Python object for each, with its strings and numbers, is half a kilobyte,
which the garbage collector walks over, too, while the reactor waits for it (measured: 0.2 to 0.4 s). In columns it is
some sixty bytes, and there is nothing to walk over.
"""

import itertools
from array import array
from collections.abc import Iterator


class Texts:
    """
    Many short texts by number, from 0, put in order. Those that nobody put are "".
    """

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._ends = array("Q", [0])

    def put(self, index: int, text: str) -> None:
        """The text at `index`, which is behind all before."""
        for _ in range(len(self._ends) - 1, index):
            self._ends.append(len(self._bytes))
        self._bytes += text.encode("utf-8", "surrogatepass")
        self._ends.append(len(self._bytes))

    def __getitem__(self, index: int) -> str:
        if index >= len(self._ends) - 1:
            return ""
        return self._bytes[self._ends[index] : self._ends[index + 1]].decode("utf-8", "surrogatepass")

    def each(self, indices: range) -> Iterator[str]:
        """Those of many numbers."""
        put, ends, texts = len(self._ends) - 1, self._ends, self._bytes
        if not put:
            return itertools.repeat("", len(indices))
        return (
            texts[ends[index] : ends[index + 1]].decode("utf-8", "surrogatepass") if index < put else ""
            for index in indices
        )


class Digits:
    """
    Many texts of `count` hexadecimal digits, in half a byte for each digit. Any other text is taken, too; "" costs no
    more, and all zeros are not told from it but by a note.
    """

    def __init__(self, count: int) -> None:
        self._half = count // 2
        self._none = bytes(self._half)
        self._zeros = self._none.hex()
        self._bytes = bytearray()
        self._others: dict[int, str] = {}

    def append(self, text: str) -> None:
        """One more."""
        packed = _packed(text, self._half)
        if packed is None or packed == self._none:
            self.fill(1)
            self[len(self) - 1] = text
        else:
            self._bytes += packed

    def fill(self, count: int) -> None:
        """So many more, each ""."""
        self._bytes += bytes(self._half * count)

    def __len__(self) -> int:
        return len(self._bytes) // self._half

    def __getitem__(self, index: int) -> str:
        if index in self._others:
            return self._others[index]
        packed = self._bytes[index * self._half : (index + 1) * self._half]
        return "" if packed == self._none else packed.hex()

    def __setitem__(self, index: int, text: str) -> None:
        packed = _packed(text, self._half)
        if text and (packed is None or text == self._zeros):
            self._others[index] = text
        else:
            self._others.pop(index, None)
        self._bytes[index * self._half : (index + 1) * self._half] = packed or self._none


def _packed(text: str, half: int) -> bytes | None:
    if len(text) != 2 * half:
        return None
    try:
        packed = bytes.fromhex(text)
    except ValueError:
        return None
    return packed if packed.hex() == text else None  # not of capitals, nor with spaces in between


class Counting:
    """
    Numbers that mostly are each one more than the one before: then only the first is kept.
    """

    def __init__(self) -> None:
        self._first = 0
        self._count = 0
        self._values: list[int] | None = None

    def append(self, number: int) -> None:
        """One more."""
        if not self._count:
            self._first = number
        if self._values is None and number != self._first + self._count:
            self._values = list(range(self._first, self._first + self._count))
        if self._values is not None:
            self._values.append(number)
        self._count += 1

    def shift(self, by: int) -> None:
        """Add to each."""
        self._first += by
        if self._values is not None:
            self._values = [number + by for number in self._values]

    def __getitem__(self, index: int) -> int:
        return self._first + index if self._values is None else self._values[index]

    def each(self, indices: range) -> Iterator[int]:
        """Those of many indices."""
        return (
            (self._first + index for index in indices)
            if self._values is None
            else map(self._values.__getitem__, indices)
        )
