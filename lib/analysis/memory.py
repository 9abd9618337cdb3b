"""Where the memory of a training step goes: the step is taken with tensors that have sizes but no contents.

The step is the real one: `CorpusObjective`, its backward pass and `Optimizer`, under PyTorch's FakeTensorMode. That
mode computes the shape and type of every result and allocates none. A ledger notes each block of memory when it is made
and when the last tensor that needs the block lets go. So GPT-2 large is accounted for on a laptop, with the effect of
each option: precision, dropout, checkpointing, the chunked loss.

The kernels are those of the CPU, and the tests compare the account with the CPU's allocator. A GPU keeps the same
tensors of GPT-2's blocks, but for two: dropout takes a byte per number there, and no attention weights are kept. An
LSTM's block is cuDNN's own affair. A GPU also holds the driver's context and the allocator's gaps between blocks.
"""

import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lib.config import RunConfig
from lib.data import Batch
from lib.language import networks
from lib.language.chunks import CorpusObjective
from lib.language.networks import Network
from lib.methods import lion
from lib.methods.make import make_methods
from lib.optim import Optimizer
from lib.support.errors import UserError

KEPT = ("activations", "weight casts", "logits")
LSTM_STEPS = (64, 128)  # multiples of 64 floats, so that rounding to pages cancels in their difference


def budget(config: RunConfig, vocab_size: int) -> dict[str, int]:
    """Bytes of a training step on windows of `data.window` tokens, all of them scored.

    parameters    all parameters and buffers (sinusoids)
    gradients     of the learned parameters
    optimizer     the moments, a counter per tensor, Grokfast's means
    activations   what autograd keeps of the network from the forward pass to the backward pass
    weight casts  the copies of weights in a shorter type that autograd keeps beside the activations
    logits        what output layer and loss keep: log-probabilities (whole), or gradients already computed (in chunks)
    peak          the most that is allocated at once, during a step that is not the first

    Activations, weight casts and logits are those of one of the `accumulation` parts of a batch. The peak is less than
    the sum where gradients are made as activations go, and more where a backward pass needs logits two or three times.
    In chunks, the output weight's gradient is made with the loss, and counted in both. Scratch memory inside a kernel
    is not counted.

    Raises UserError if there is no window, or it exceeds the context.
    """
    n_rows, T = config.train.batch_size // config.train.accumulation, config.data.window
    if not 1 <= T <= config.model.context_length:
        raise UserError(f"data.window = {T}: must be from 1 to model.context_length = {config.model.context_length}")
    with FakeTensorMode(), Ledger() as ledger:
        with ledger.counting("parameters"):
            network = networks.make(config.model, vocab_size)
        network.checkpointing = config.train.activation_checkpointing
        # float16 scales the loss, which takes a few bytes and asks for contents
        optimizer = Optimizer(network, config.override({"train.precision": "float32"}), make=lion.make)
        optimizer.methods = make_methods(config, network, optimizer)
        objective = make_objective(network, config, ledger)
        ids = torch.zeros(n_rows, T, dtype=torch.int64)
        batch = Batch(ids, ids.clone(), None)
        for parameter in optimizer.parameters:
            parameter.grad = torch.zeros_like(parameter)
        gradients = sum(p.nbytes for p in optimizer.parameters)
        with ledger.counting("optimizer"):
            optimizer.step(0)
        if config.train.accumulation == 1:
            optimizer.zero_grad()  # else the first part's gradients are there when the next is computed
        ledger.peak = 0
        kept = one_part(objective, batch, ledger)
        optimizer.step(1)
    sizes = {"parameters": ledger.live["parameters"], "gradients": gradients, "optimizer": ledger.live["optimizer"]}
    return sizes | kept | {"peak": ledger.peak}


def measured(config: RunConfig, vocab_size: int) -> tuple[int, int]:
    """What `budget` counts, as the CPU's allocator tells it of a real step.

    Bytes that the forward pass keeps; and the most that is allocated at once in a step, beyond what is there before it:
    parameters, moments, and, of a batch in parts, gradients.
    """
    network = networks.make(config.model, vocab_size)
    network.checkpointing = config.train.activation_checkpointing
    objective, optimizer = CorpusObjective(network, "all", config.train), Optimizer(network, config)
    size = (config.train.batch_size // config.train.accumulation, config.data.window)
    batch = Batch(torch.randint(vocab_size, size), torch.randint(vocab_size, size), None)
    objective(batch).backward()
    optimizer.step(0)
    if config.train.accumulation == 1:
        optimizer.zero_grad()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as forward:
        loss = objective(batch)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as rest:
        loss.backward()
        optimizer.step(1)
    before, after = allocations(forward), allocations(rest)
    return sum(before), max(accumulate(before + after))


def allocations(profiled: profile) -> list[int]:
    """Bytes of each allocation, below 0 of each release, in order."""
    events = [e for e in profiled.profiler.kineto_results.events() if e.name() == "[memory]"]
    return [e.nbytes() for e in sorted(events, key=lambda e: e.start_ns())]


class Ledger(TorchDispatchMode):
    """Counts the bytes that operations allocate, by kind, less the bytes that are freed.

    Storages are counted, not tensors: a view costs nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live: Counter[str] = Counter()
        self.peak = 0
        self.kind = "other"  # of what is allocated now
        self.storages: dict[int, tuple[str, weakref.ref]] = {}  # by address: kind, and a reference that tells the end

    @contextmanager
    def counting(self, kind: str) -> Iterator[None]:
        """What is allocated within is of this kind."""
        before, self.kind = self.kind, kind
        try:
            yield
        finally:
            self.kind = before

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if func is torch.ops.prim.device.default:  # two calls of three; nothing is allocated
            return args[0].fake_device
        result = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.mkldnn_rnn_layer.default:
            result = (*result[:3], result[3].new_empty(lstm_workspace(func, args)))
        copies = func is torch.ops.aten._to_copy.default and self.kind_of(args[0]) == "parameters"
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor) and self.kind_of(tensor) is None:
                self.add(tensor.untyped_storage(), "weight casts" if copies else self.kind)
        return result

    def kind_of(self, tensor: Tensor) -> str | None:
        """The kind under which the tensor's storage was counted; None if it was not."""
        return self.storages.get(tensor.untyped_storage()._cdata, (None,))[0]

    def add(self, storage: torch.UntypedStorage, kind: str) -> None:
        address, size = storage._cdata, storage.nbytes()

        def freed(_: weakref.ref) -> None:
            self.live[kind] -= size
            del self.storages[address]

        self.storages[address] = kind, weakref.ref(storage, freed)
        self.live[kind] += size
        self.peak = max(self.peak, self.live.total())


def make_objective(network: Network, config: RunConfig, ledger: Ledger) -> CorpusObjective:
    """The objective of a corpus, which from the features on counts as logits."""
    features: Callable[[Tensor], Tensor] = network.features

    def watched(states: Tensor) -> Tensor:
        x = features(states)
        ledger.kind = "logits"
        return x

    network.features = watched
    return CorpusObjective(network, "all", config.train)


def one_part(objective: CorpusObjective, batch: Batch, ledger: Ledger) -> dict[str, int]:
    """Add the gradient of a part of a batch; bytes that were kept between its forward and its backward pass."""
    with ledger.counting("activations"):
        loss = objective(batch)
    kept = {kind: ledger.live[kind] for kind in KEPT}
    loss.backward()
    return kept


def lstm_workspace(layer: Any, args: tuple) -> int:
    """Bytes of the block in which oneDNN keeps an LSTM layer's gates and states, for T tokens (T, B, D) in args[0].

    FakeTensorMode does not know the block's layout, so a layer of a few tokens is really run. Beyond LSTM_STEPS the
    size grows linearly.
    """
    T = len(args[0])

    def measured(steps: int) -> int:
        sizes = [(steps, *args[0].shape[1:])] + [x.shape for x in args[1:7]]
        with unset_fake_temporarily():
            real = [torch.zeros(size, dtype=x.dtype) for size, x in zip(sizes, args, strict=False)]
            return layer(*real, *args[7:])[3].nbytes

    few, more = LSTM_STEPS
    if more >= T:
        return measured(T)
    at_few, at_more = measured(few), measured(more)
    return at_few + (at_more - at_few) * (T - few) // (more - few)
