"""Weights, moments and updates of N networks of one shape, each a row of a tensor: what a stack computes with.

Names in the shapes: N members of P weights each, B sequences, T tokens.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate

import torch
from torch import Tensor, nn

from lib.data import Batch
from lib.optim import Optimizer
from lib.support.errors import UserError
from lib.training.muon import size_of_adamw, turned

EPS = 1e-8  # Adam's, as torch has it


class StackedSplit:
    """One split of each member: U distinct ones of n sequences each, of which member i reads that of number which[i].

    Raises UserError if they differ in size.
    """

    def __init__(self, splits: Sequence[Batch], which: Tensor) -> None:
        self.size, self.width, self.which = splits[0].size, splits[0].width, which[:, None]
        if len({(split.tokens.shape, split.lengths is None) for split in splits}) > 1:
            raise UserError("data.split_seed: in a stack all splits must have one size, and one longest equation")
        self.fields = [None if some[0] is None else torch.stack(some) for some in zip(*splits, strict=True)]

    def __getitem__(self, rows: Tensor) -> list[Tensor | None]:
        """The fields of each member's Batch of its rows (N, B): (N, B, T), (N, B, T), and (N, B) or None."""
        return [None if field is None else field[self.which, rows] for field in self.fields]


class StackedWeights:
    """The weights of N networks, (N, P), and the moments of their optimisers, as Adam, AdamW and Muon have them.

    The networks' parameters and the optimisers' moments become views of the rows, so that files are written as ever.
    The P columns are those of the matrices that Muon trains, of other matrices, of vectors, and of what is frozen.
    """

    def __init__(self, networks: Sequence[nn.Module], optimizers: Sequence[Optimizer], device: str) -> None:
        self.grad_norm: Tensor | None = None  # (N,) of the last step, before filters and clipping
        configs = [optimizer.config for optimizer in optimizers]
        self.pulled, self.clipped = any(c.grokfast for c in configs), any(c.clip for c in configs)
        self.adds_l2 = configs[0].name == "adam"
        self.lay_out(dict(networks[0].named_parameters()), optimizers[0])
        size = (len(networks), sum(self.sizes))
        self.all, self.first, self.second, self.slow = (torch.zeros(size, device=device) for _ in range(4))
        for row, (network, optimizer) in enumerate(zip(networks, optimizers, strict=True)):
            self.adopt(row, dict(network.named_parameters()), optimizer)
        self.all.requires_grad_()

    def lay_out(self, named: Mapping[str, nn.Parameter], optimizer: Optimizer) -> None:
        """Give each weight of a network its columns."""
        by_muon = {id(p) for part in optimizer.parts[1:] for group in part.param_groups for p in group["params"]}
        kind = {name: 0 if id(p) in by_muon else 1 if p.ndim >= 2 else 2 for name, p in named.items()}
        kind |= {name: 3 for name, p in named.items() if not p.requires_grad}
        self.names = sorted(named, key=kind.__getitem__)
        self.shapes, self.sizes = [named[n].shape for n in self.names], [named[n].numel() for n in self.names]
        ends = [0, *accumulate(self.sizes)]
        self.columns = dict(zip(self.names, map(slice, ends, ends[1:]), strict=False))
        starts = [ends[sum(k < of for k in kind.values())] for of in range(5)]
        self.by_muon, self.matrices, self.vectors, self.frozen = map(slice, starts, starts[1:])
        self.group = optimizer.parts[-1].param_groups[0]  # Muon's settings, where Muon trains

    def adopt(self, row: int, named: Mapping[str, nn.Parameter], optimizer: Optimizer) -> None:
        """Copy a network's weights and moments into a row, and make them views of it."""
        columns = {p: self.columns[name] for name, p in named.items()}

        def moved(x: Tensor | None, p: nn.Parameter, into: Tensor) -> Tensor:
            place = into[row, columns[p]].view(p.shape)
            return place if x is None else place.copy_(x)

        for part in optimizer.parts:
            names = ("momentum_buffer",) if isinstance(part, torch.optim.Muon) else ("exp_avg", "exp_avg_sq")
            for p in (p for group in part.param_groups for p in group["params"]):
                kept = part.state[p]
                for name, into in zip(names, (self.first, self.second), strict=False):
                    kept[name] = moved(kept.get(name), p, into)
                if len(names) == 2:
                    kept["step"] = torch.tensor(0.0)  # `tell_steps` sets it
        for method in optimizer.methods:  # Grokfast, if any
            before = method.memory or [None for _ in optimizer.parameters]
            method.memory = [moved(x, p, self.slow) for x, p in zip(before, optimizer.parameters, strict=True)]
        for p in columns:
            p.data = moved(p.data, p, self.all)

    def by_name(self) -> dict[str, Tensor]:
        """The weights by name, each with a leading axis; gradients flow from them to `all`."""
        pieces = zip(self.names, self.shapes, self.all.split(self.sizes, 1), strict=True)
        weights = {name: piece.unflatten(1, shape) for name, shape, piece in pieces}
        frozen = [name for name, at in self.columns.items() if at.start >= self.frozen.start]
        return weights | {name: weights[name].detach() for name in frozen}

    @torch.no_grad()
    def update(self, numbers: Tensor) -> None:
        """`Optimizer.step` of each member, from the gradient of `all` and what `numbers` gives, each (N, 1)."""
        lr, kept, kept_of_vectors, l2, l2_of_vectors, new1, new2, size, root, pull, new_slow, clip = numbers
        g = self.all.grad
        self.grad_norm = g.norm(dim=1)
        if self.pulled:
            g += pull * self.slow.lerp_(g, new_slow)
        if self.clipped:
            g *= (clip / (g.norm(dim=1, keepdim=True) + 1e-6)).clamp(max=1)
        if self.by_muon.stop:
            self.turn(g, lr, kept)
        for part, keep, l2_here in ((self.matrices, kept, l2), (self.vectors, kept_of_vectors, l2_of_vectors)):
            w, own, first, second = (x[:, part] for x in (self.all, g, self.first, self.second))
            if self.adds_l2:
                own += l2_here * w
            w *= keep
            first.lerp_(own, new1)
            second.lerp_(own.square(), new2)
            w -= size * first / (second.sqrt() / root + EPS)

    def turn(self, g: Tensor, lr: Tensor, kept: Tensor) -> None:
        """Muon's update of its columns, as `StackedMuon` makes it."""
        momentum, own = self.group["momentum"], g[:, self.by_muon]
        own.lerp_(self.first[:, self.by_muon].lerp_(own, 1 - momentum), momentum)
        self.all[:, self.by_muon].mul_(kept)
        places = list(zip(self.columns.values(), self.shapes, strict=True))
        places = [(at, shape) for at, shape in places if at.stop <= self.by_muon.stop]
        updates = turned([g[:, at].unflatten(1, shape) for at, shape in places], self.group)
        for (at, _), update in zip(places, updates, strict=True):
            self.all[:, at].sub_(lr * size_of_adamw(update) * update.flatten(1))

    def norms(self) -> dict[str, Tensor]:
        """Those that a row of metrics has, (N,) each: of weights, matrices, and once there is one of the gradient."""
        learned, frozen = self.all[:, : self.matrices.stop], self.all[:, self.frozen]
        found = {"weight_norm": self.all.norm(dim=1), "matrix_norm": learned.norm(dim=1).hypot(frozen.norm(dim=1))}
        return found | ({} if self.grad_norm is None else {"grad_norm": self.grad_norm})


def numbers(optimizer: Optimizer, step: int) -> tuple[float, ...]:
    """What `StackedWeights.update` needs to know of a member's update from `step` on."""
    config, lr = optimizer.config, optimizer.lr(step)
    l2 = (config.weight_decay, config.weight_decay * (config.decay == "all"))  # of matrices, of vectors
    kept = (1.0, 1.0) if config.name == "adam" else (1 - lr * l2[0], 1 - lr * l2[1])
    size, root = lr / (1 - config.beta1 ** (step + 1)), (1 - config.beta2 ** (step + 1)) ** 0.5
    slow = (config.grokfast, 1 - config.grokfast_decay if step else 1.0)
    return (lr, *kept, *l2, 1 - config.beta1, 1 - config.beta2, size, root, *slow, config.clip or torch.inf)


def tell_steps(optimizer: Optimizer, step: int) -> None:
    """Let the optimiser's state say how many updates a stack has made of it."""
    for part in optimizer.parts:
        for kept in part.state.values():
            if "step" in kept:
                kept["step"].fill_(step)
