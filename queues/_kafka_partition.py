"""From a key to its partition, as Java's clients and their kin do it: all writers of a topic have to agree."""

from __future__ import annotations

import struct
from functools import lru_cache

_KEYS = 20_000
"""Hashes that are kept: about 3 MB of short keys. A hit is free, a miss takes 5 to 15 µs."""
_SEED, _M, _32 = 0x9747B28C, 0x5BD1E995, 0xFFFFFFFF


def partition_of(key: str | bytes, count: int) -> int:
    """The partition of a key in a topic with `count` of them. A string counts as its UTF-8 bytes."""
    return _positive(key) % count


@lru_cache(_KEYS)
def _positive(key: str | bytes) -> int:
    return murmur2(key.encode() if isinstance(key, str) else key) & 0x7FFFFFFF


def murmur2(data: bytes) -> int:
    """The 32-bit hash of Kafka's own clients, unsigned.

    Source: https://github.com/apache/kafka/blob/4.1/clients/src/main/java/org/apache/kafka/common/utils/Utils.java
    """
    length = len(data)
    h = _SEED ^ length
    words = length >> 2
    for k in struct.unpack_from(f"<{words}I", data):
        k = k * _M & _32  # noqa: PLW2901 - the names of the source
        k = (k ^ k >> 24) * _M & _32  # noqa: PLW2901
        h = h * _M & _32 ^ k
    if rest := data[words << 2 :]:
        h = (h ^ int.from_bytes(rest, "little")) * _M & _32
    h = (h ^ h >> 13) * _M & _32
    return h ^ h >> 15
