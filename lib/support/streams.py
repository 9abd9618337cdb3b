"""Seeds for random streams that share nothing."""

import hashlib


def stream(seed: int, purpose: str, number: int) -> int:
    """A seed below 2^32 for one purpose of a run, such as the batches of epoch `number`.

    torch's CPU generator takes a seed modulo 2^32, so larger sums of seed and number would coincide.
    """
    return int(hashlib.sha256(f"{purpose} {number} of seed {seed}".encode()).hexdigest()[:8], 16)
