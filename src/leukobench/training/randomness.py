"""Randomness is addressed: every draw is a function of a seed and of where it is used, never of what ran before.

So the evaluation schedule, workers, resuming and sharing change no draw.
"""

from __future__ import annotations

import hashlib

import torch


def seed_of(seed: int, *address: int | str) -> int:
    """A 63-bit seed for one use of randomness, for instance `seed_of(1, "order", epoch)`."""
    text = "\x1f".join(str(part) for part in (seed, *address))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def generator(seed: int, *address: int | str) -> torch.Generator:
    """A CPU generator of its own for one use of randomness; CPU, so that every device sees the same draws."""
    g = torch.Generator()
    g.manual_seed(seed_of(seed, *address))
    return g
