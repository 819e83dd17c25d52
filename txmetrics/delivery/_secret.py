"""Secret: an API key that shows itself to nobody but the transport."""

from __future__ import annotations

import re

__all__ = ["Secret"]


class Secret:
    """Holds a key; its repr, str and format are stars, and it cannot be pickled.

    Raises ValueError, without a word of it, for a key with other characters than letters, digits, - and _.
    """

    __slots__ = ("__value",)

    def __init__(self, value: str) -> None:
        self.__value = value.encode("ascii", "replace") if isinstance(value, str) else b""
        del value  # a verbose traceback shows the variables of a function
        if not re.fullmatch(rb"[A-Za-z0-9_-]+", self.__value):
            raise ValueError("the API key is empty or no key: it is one word of letters, digits, - and _")

    def __repr__(self) -> str:
        return "Secret(***)"

    def __reduce__(self) -> str:
        raise TypeError("a secret is not pickled")

    def before_each_line(self, data: bytes) -> bytes:
        """``data``, whole lines, with the key and a dot before each."""
        return b"".join([self.__value + b"." + line for line in data.splitlines(keepends=True)])
