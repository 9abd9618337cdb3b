"""How long a transformer takes to continue a text, each token read once against all read again for each new one.

Both ways in turns in one process with one thread. The weights are the initial ones: the time does not depend on them.
"""

import statistics
import time

import torch

from lib.config import ModelConfig
from lib.model import Transformer
from lib.sampling import next_logits
from lib.support.machine import keep_freed_memory

ROUNDS, TOKENS, VOCAB = 3, 512, 2048
CONFIG = ModelConfig(n_layers=4, n_heads=4, d_model=128, d_ff=512, context_length=TOKENS)


def seconds(model: Transformer, cached: bool) -> float:
    """To continue one token by the TOKENS likeliest, one after the other."""
    tokens = torch.zeros(1, 1, dtype=torch.int64)
    begun = time.perf_counter()
    cache = model.new_cache(1) if cached else None
    for _ in range(TOKENS):
        tokens = torch.cat([tokens, next_logits(model, tokens, cache).argmax(1, keepdim=True)], 1)
    return time.perf_counter() - begun


def main() -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    keep_freed_memory()
    torch.manual_seed(0)
    model = Transformer(CONFIG, VOCAB).eval()
    rounds = [(seconds(model, cached=False), seconds(model, cached=True)) for _ in range(ROUNDS)]
    plain, cached = (statistics.median(times) for times in zip(*rounds, strict=True))
    sizes = f"{CONFIG.n_layers} layers of width {CONFIG.d_model}, {VOCAB} tokens in the vocabulary"
    print(f"{TOKENS} tokens, one after the other, {sizes}, one thread, median of {ROUNDS}:")
    print(f"  {'all tokens read for each new one':36} {plain * 1e3 / TOKENS:6.2f} ms a token")
    print(f"  {'each token read once':36} {cached * 1e3 / TOKENS:6.2f} ms a token   1/{plain / cached:.1f} of that")


if __name__ == "__main__":
    main()
