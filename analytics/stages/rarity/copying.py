"""A large state as it was at one moment, copied a part behind each batch while it goes on.

Copying 600 MB at once would hold up all readings for seconds. So what a batch overwrites of rows
that are not copied yet is kept; the copy is made in parts of whatever stands there, and in the end
what was kept is put back over it, the oldest last.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analytics.stages.state import packed
from core.batch import Frozen

Overwritten = tuple[str, NDArray[Any], NDArray[Any]]
"""Elements of an array, flat as :func:`flat` gives it, that were replaced: name, where, what."""


def flat(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """Return an array in one dimension; figures and alerts as a line a series.

    A line of figures is a single thing, which numpy moves whole.
    """
    if name == "alerts":
        return array.reshape(-1, array.shape[-1])
    if name != "figures":
        return array.reshape(-1)
    line = np.dtype((np.void, array.itemsize * array.shape[-1]))
    return array.reshape(-1, array.shape[-1]).view(line).reshape(-1)


class Copying:
    """A copy that is under way.

    Args:
        stage: The stage's name.
        version: Its version.
        arrays: The arrays to copy, as they are now, by name.
        ids: ``(rows,)`` the device of each row.
    """

    def __init__(
        self, stage: str, version: int, arrays: Mapping[str, NDArray[Any]], ids: NDArray[np.int32]
    ) -> None:
        self._stage, self._version = stage, version
        self._ids = ids.copy()
        rows = len(ids)
        self._to = {
            name: np.empty((rows, *array.shape[1:]), array.dtype) for name, array in arrays.items()
        }
        self._lines = {name: len(flat(name, array[:1])) for name, array in arrays.items()}
        self._row_bytes = sum(array[:1].nbytes for array in arrays.values())
        self._copied = 0
        self._kept: list[Overwritten] = []

    @property
    def size(self) -> int:
        """How many bytes the state has."""
        return self._row_bytes * len(self._ids) + self._ids.nbytes

    @property
    def is_complete(self) -> bool:
        """Whether every row is copied."""
        return self._copied == len(self._ids)

    def keep(self, overwritten: Sequence[Overwritten]) -> None:
        """Keep what a batch overwrote of rows that are not copied yet."""
        for name, at, old in overwritten:
            lines = self._lines[name]
            wanted = (at >= self._copied * lines) & (at < len(self._ids) * lines)
            if wanted.any():
                self._kept.append((name, at[wanted], old[wanted]))

    def copy(self, arrays: Mapping[str, NDArray[Any]], most: int) -> None:
        """Copy some more rows.

        Args:
            arrays: The arrays as they are now.
            most: Stop after about so many bytes.
        """
        rows = slice(self._copied, self._copied + max(most // self._row_bytes, 1))
        for name, to in self._to.items():
            to[rows] = arrays[name][: len(self._ids)][rows]
        self._copied = min(rows.stop, len(self._ids))

    def frozen(self) -> Frozen:
        """Return the state as it was at the beginning; once it is complete, from any thread."""
        while self._kept:
            name, at, old = self._kept.pop()
            flat(name, self._to[name])[at] = old
        return packed(self._stage, self._version, self._to | {"": self._ids})
