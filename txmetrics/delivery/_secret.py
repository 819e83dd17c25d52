"""Secret and Authorization: an API key, and what else gives access, that show themselves to the transport only."""

from __future__ import annotations

import re
from binascii import a2b_base64, b2a_base64

__all__ = ["Authorization", "Secret"]


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


class Authorization:
    """What an HTTP server wants to see before it takes anything: a token (Bearer), or a user and a password (Basic).

    Its repr, str and format are stars, and it cannot be pickled. Raises ValueError, without a word of it, for what no
    header can carry.
    """

    __slots__ = ("__value",)

    def __init__(self, secret: str | tuple[str, str]) -> None:
        try:
            self.__value = _bearer(secret) if isinstance(secret, str) else _basic(*secret)
        except (TypeError, UnicodeEncodeError):
            self.__value = b""
        finally:
            del secret  # a verbose traceback shows the variables of a function
        if not self.__value:
            raise ValueError(
                "the authorization is none: give a token of letters, digits and - . _ ~ + / =, "
                "or a user without a colon and a password, as two strings"
            )

    def __repr__(self) -> str:
        return "Authorization(***)"

    def __reduce__(self) -> str:
        raise TypeError("a secret is not pickled")

    def as_header(self) -> bytes:
        """The value of an HTTP Authorization header; see ``Secret.as_basic_user`` for what it shows of itself."""
        return _Veiled(self.__value)

    def is_in(self, text: bytes) -> bool:
        """Whether ``text`` has the token, or the password, or what stands for both."""
        scheme, _, value = self.__value.partition(b" ")
        plain = a2b_base64(value).partition(b":")[2] if scheme == b"Basic" else value
        return value in text or (plain != b"" and plain in text)


def _bearer(token: str) -> bytes:
    return b"Bearer " + token.encode("ascii") if re.fullmatch(r"[A-Za-z0-9._~+/-]+=*", token) else b""


def _basic(user: str, password: str) -> bytes:
    both = f"{user}:{password}"
    right = user and ":" not in user and both.isprintable()
    return b"Basic " + b2a_base64(both.encode(), newline=False) if right else b""


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
