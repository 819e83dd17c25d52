"""Names: how a metric stands on a line, what is before the field and what behind it; remembered once checked."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping

from txmetrics import names

__all__ = ["Names"]


class Names:
    """The names that were let pass before.

    ``prefix`` stands before every name, ``tags`` are on every line. A metric's own tag that is called like one of
    these, or one in ``taken``, becomes ``exported_...``, so that none hides another.
    """

    def __init__(self, prefix: str, tags: Mapping[str, str], taken: Collection[str]) -> None:
        self.prefix = prefix
        self._tags = tags
        self._taken = taken
        self.clear()

    def __len__(self) -> int:
        return len(self.bare) + len(self.tagged) + sum(map(len, self.heads.values()))

    def clear(self) -> None:
        """Forget them all; a report under way has those that it began with."""
        self.bare: set[str] = set()
        """Those that stand behind the prefix as they are, without tags."""
        self.tagged: dict[str, tuple[str, str]] = {}
        """Of others: what stands before a field, and the tags, ``;queue=mail``."""
        self.heads: dict[type, dict[str, str]] = defaultdict(dict)
        """Of others that are one number, by their kind: all that stands before it."""

    def place(self, name: object) -> tuple[str, str] | None:
        """What stands before the field and behind it; None for a name that a line cannot carry.

        One without tags is remembered; one with tags is the caller's to remember, in the form in which it is needed.
        """
        if type(name) is not str or not names.is_full(name):
            return None
        path = self.prefix + name.partition(";")[0]
        tags = self._merged(names.tags_of(name))
        if not tags:
            self.bare.add(name)
        return path, tags

    def _merged(self, own: Mapping[str, str]) -> str:
        merged = dict(self._tags)
        for key, value in own.items():
            while key in merged or key in self._taken:
                key = f"exported_{key}"
            merged[key] = value
        return "".join(sorted(f";{key}={value}" for key, value in merged.items()))
