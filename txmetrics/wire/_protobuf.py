"""Protobuf's wire format: a field's number and type, then its value."""

from __future__ import annotations

from struct import pack

__all__ = ["double", "integer", "part", "signed", "varint", "zigzag"]


def varint(number: int) -> bytes:
    if number < 128:
        return bytes((number,))
    seven = bytearray()
    while number > 127:
        seven.append(number & 127 | 128)
        number >>= 7
    seven.append(number)
    return bytes(seven)


def zigzag(number: int) -> int:
    return 2 * number if number >= 0 else -2 * number - 1


def integer(field: int, number: int) -> bytes:
    return varint(field << 3) + varint(number)


def signed(field: int, number: int) -> bytes:
    return integer(field, zigzag(number))


def double(field: int, number: float) -> bytes:
    return pack("<Bd", field << 3 | 1, number)


def part(field: int, content: bytes) -> bytes:
    """Text, a message inside, or several numbers in one."""
    return varint(field << 3 | 2) + varint(len(content)) + content
