"""Training steps of a network on random tokens: how many tokens a second, with how much memory."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from bench.timed import forget_memory, memory, multiply_as
from lib.config import RunConfig
from lib.data import Dataset
from lib.language import networks
from lib.language.chunks import CorpusObjective
from lib.language.corpora import Windows
from lib.language.networks import Network
from lib.language.tokenizers import IdTokenizer
from lib.loop import Loop
from lib.methods import lion
from lib.optim import Optimizer

WARM_UP = 3  # steps
# TFLOP/s of dense bfloat16 products, by a part of the card's name; H100 and H200 in their SXM form
PEAKS = {"H100 PCIe": 756, "H100 NVL": 835, "H100": 989, "H200": 989, "GH200": 989}


def build(config: RunConfig, vocab_size: int, device: str) -> Network:
    """The network, with initial weights that were drawn on the device."""
    torch.manual_seed(config.seed)
    with torch.device(device):
        return networks.make(config.model, vocab_size)


def not_fused(config: Any, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """AdamW in a kernel per operation."""
    return torch.optim.AdamW(groups, config.lr, (config.beta1, config.beta2), foreach=True)


def measure(
    config: RunConfig, network: Network, device: str, n_steps: int, make: Callable[..., Any] = lion.make
) -> dict[str, float]:
    """Tokens/s and memory in MB of some steps after the first ones."""
    forget_memory(device)
    multiply_as(config, device)
    network.checkpointing = config.train.activation_checkpointing
    vocab_size, width, n_rows = len(network.output_weight), config.data.window, config.train.batch_size
    ids = np.random.default_rng(0).integers(vocab_size, size=8 * n_rows * width + 1, dtype=np.int64)
    data = Dataset(IdTokenizer(vocab_size), {"train": Windows(ids, width, 1, device)})
    optimizer = Optimizer(network, config, device, make)
    loop = Loop(CorpusObjective(network, "all", config.train), data, optimizer, config.train, config.seed)
    for _ in range(WARM_UP):
        loop.take_step()
    wait(device)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    begun = time.perf_counter()
    for _ in range(n_steps):
        loop.take_step()
    wait(device)
    seconds = time.perf_counter() - begun
    used = memory(device)
    optimizer.zero_grad()
    return {"tokens/s": n_steps * n_rows * width / seconds} | used


def wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def work_per_token(config: RunConfig, network: Network) -> float:
    """FLOP of a token, forward and backward: 6 for each weight of a product, and 12 L D T for attention.

    That is how PaLM counts (Chowdhery et al. 2022, arXiv 2204.02311, appendix B): all T positions, though half are
    masked, and nothing for what checkpointing computes again.
    """
    in_products = sum(p.numel() for p in network.blocks.parameters()) + network.output_weight.numel()
    return 6 * in_products + 12 * config.model.n_layers * config.model.d_model * config.data.window


def peak_of(card: str) -> float | None:
    """The card's FLOP/s; None if it is not known."""
    return next((1e12 * peak for name, peak in PEAKS.items() if name in card), None)
