"""Secret: an API key that shows itself to nobody but the transport."""

from __future__ import annotations

import re
from binascii import b2a_base64

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

    def as_basic_user(self) -> bytes:
        """The value of an HTTP Authorization header: Basic, the key as the user, no password.

        Its repr is stars, and so is that of what comes of it when other bytes are put before or behind it: Twisted
        does so in variables of its own, which a verbose traceback would show.
        """
        return _Veiled(b"Basic " + b2a_base64(self.__value + b":", newline=False))


class _Veiled(bytes):
    """Bytes that show themselves as stars, until they are joined."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __reduce__(self) -> str:
        raise TypeError("a secret is not pickled")

    def __add__(self, other: bytes) -> bytes:  # type: ignore[override]  # bytes take more than bytes
        return _Veiled(bytes(self) + other)

    def __radd__(self, other: bytes) -> bytes:
        return _Veiled(other + bytes(self))
