"""A pseudo-random order of 0 ... n-1 of which any element can be had without the others."""

from __future__ import annotations

import hashlib

ROUNDS = 8


def permuted(index: int, size: int, seed: int) -> int:
    """Give the image of `index` under a permutation of range(size) that `seed` picks.

    A balanced Feistel network permutes the numbers of an even count of bits; where it leads out of the
    range it is applied again, which keeps it a permutation of the range (cycle walking: Black and Rogaway,
    *Ciphers with Arbitrary Finite Domains*, 2002). Fewer than four steps on average.
    """
    if not 0 <= index < size:
        raise IndexError(index)
    half = max(1, ((size - 1).bit_length() + 1) // 2)
    while True:
        index = _feistel(index, half, size, seed)
        if index < size:
            return index


def _feistel(number: int, half: int, size: int, seed: int) -> int:
    mask = (1 << half) - 1
    left, right = number >> half, number & mask
    for turn in range(ROUNDS):
        left, right = right, left ^ (_mix(turn, right, size, seed, half) & mask)
    return left << half | right


def _mix(turn: int, value: int, size: int, seed: int, half: int) -> int:
    length = max(8, (half + 7) // 8)
    text = f"{seed}\n{size}\n{turn}\n{value}".encode()
    if length <= hashlib.blake2b.MAX_DIGEST_SIZE:
        return int.from_bytes(hashlib.blake2b(text, digest_size=length).digest(), "big")
    return int.from_bytes(hashlib.shake_256(text).digest(length), "big")
