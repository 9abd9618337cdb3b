"""Random streams of different seeds share nothing."""

from lib.data import permutation
from lib.support.streams import stream


def test_streams_differ_by_seed_purpose_and_number_and_fit_the_generator() -> None:
    streams = [stream(seed, purpose, n) for seed in (0, 4_295, 2**31 - 1) for purpose in ("a", "b") for n in range(50)]
    assert len(set(streams)) == len(streams) and all(0 <= one < 2**32 for one in streams)


def test_batches_of_large_seeds_are_not_those_of_other_seeds() -> None:
    # 2^32 = 4294 · 1,000,003 + 954,414: torch's generator takes these two seeds for one
    assert permutation(97, 4_295, 0).tolist() != permutation(97, 0, 4_295 * 1_000_003 - 2**32).tolist()
    assert permutation(97, 4_294, 3).tolist() == permutation(97, 4_294, 3).tolist()
