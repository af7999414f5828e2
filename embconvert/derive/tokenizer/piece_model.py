"""Writes SentencePiece's model file, a protobuf message, from a list of pieces."""

import struct
from collections.abc import Iterable
from enum import IntEnum
from typing import NamedTuple


class PieceType(IntEnum):
    """ModelProto.SentencePiece.Type."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4


class Algorithm(IntEnum):
    """TrainerSpec.ModelType."""

    UNIGRAM = 1
    BPE = 2
    CHAR = 4


class WordPart(NamedTuple):
    text: str
    score: float = 0.0
    type: PieceType = PieceType.NORMAL


def piece_model(
    pieces: Iterable[WordPart],
    algorithm: Algorithm,
    charsmap: bytes,
    *,
    end: str = "",
) -> bytes:
    """Returns a model that changes texts only by the characters map.

    Args:
        pieces: Their indices are their ids; one is UNKNOWN.
        charsmap: From charsmap().
        end: The CONTROL piece that ends texts if that is asked for.
    """
    body = bytearray()
    unknown = 0, ""
    for number, piece in enumerate(pieces):
        if piece.type is PieceType.UNKNOWN:
            unknown = number, piece.text
        content = (
            _bytes(1, piece.text.encode()) + b"\x15" + struct.pack("<f", piece.score)
        ) + _number(3, piece.type)
        body += _bytes(1, content)
    trainer = (
        _number(3, algorithm) + _number(35, 0)  # byte_fallback
        + _number(40, unknown[0]) + _bytes(45, unknown[1].encode()) + _bytes(47, end.encode())
    )  # fmt: skip
    normalizer = (
        _bytes(1, b"custom") + _bytes(2, charsmap)
        # add_dummy_prefix and remove_extra_whitespaces, which are on without these
        + _number(3, 0) + _number(4, 0) + _number(5, 1)
    )  # fmt: skip
    return bytes(body) + _bytes(2, trainer) + _bytes(3, normalizer)


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*encoded, value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value
