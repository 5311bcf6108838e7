"""Which tasks began and which ended: two bits for each, so that no line is lost or told twice."""

from __future__ import annotations

from collections.abc import Iterable

_PAGE_BITS = 14
_PAGE = 1 << _PAGE_BITS
# Spark numbers tasks from 0: an id beyond is damage, and must not make room for all before it.
_LARGEST = 1 << 26
_BEGUN, _ENDED = 1, 2


class TaskBook:
    """A book of task ids; its size is a byte for each task of the application."""

    def __init__(self) -> None:
        self.twice_begun = 0
        self.twice_ended = 0
        self._pages: dict[int, bytearray] = {}

    def begin(self, ids: Iterable[int]) -> None:
        """These tasks began."""
        self.twice_begun += self._mark(ids, _BEGUN)

    def end(self, ids: Iterable[int]) -> None:
        """These tasks ended."""
        self.twice_ended += self._mark(ids, _ENDED)

    @property
    def unbegun(self) -> int:
        """How many ended that never began."""
        return self._count(_ENDED)

    @property
    def unended(self) -> int:
        """How many began that never ended."""
        return self._count(_BEGUN)

    def _mark(self, ids: Iterable[int], bit: int) -> int:
        again = 0
        pages = self._pages
        for task in ids:
            page = pages.get(task >> _PAGE_BITS)
            if page is None:
                page = self._page(task)
            at = task & (_PAGE - 1)
            state = page[at]
            if state & bit:
                again += 1
            page[at] = state | bit
        return again

    def _page(self, task: int) -> bytearray:
        # All odd ids share one page: that some are taken for each other is said as damage too.
        number = task >> _PAGE_BITS if 0 <= task < _LARGEST else -1
        return self._pages.setdefault(number, bytearray(_PAGE))

    def _count(self, state: int) -> int:
        return sum(page.count(state) for page in self._pages.values())
