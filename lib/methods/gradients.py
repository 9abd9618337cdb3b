"""Methods that change the gradient before the optimiser sees it."""

import torch

from lib.methods.method import Method, Trained


class Grokfast(Method):
    """Grokfast-EMA (Lee et al. 2024, arXiv 2405.20233): μ <- α μ + (1 - α) g, from the first g on; g <- g + λ μ.

    The config has fields of its own for it: `optim.grokfast` is λ, `optim.grokfast_decay` is α.
    """

    def before(self, lr: float) -> None:
        gradients = [w.grad for w in self.trained.weights if w.grad is not None]
        if not self.memory:
            self.memory = [g.clone() for g in gradients]
        else:
            torch._foreach_lerp_(self.memory, gradients, 1 - self.trained.optimizer.config.grokfast_decay)
        torch._foreach_add_(gradients, self.memory, alpha=self.amount)


class Orthogonal(Method):
    """⊥Grad (Prieto et al. 2025, arXiv 2501.04697): g <- g - (w·g / w·w) w, at g's old norm, per tensor.

    The removed component scales weights and logits: the loss of a memorised set falls for ever, and no answer changes.
    The config has a field of its own for it, `optim.orthogonal`.
    """

    def before(self, lr: float) -> None:
        for w in self.trained.weights:
            if w.grad is not None:
                norm = w.grad.norm()
                w.grad -= (w * w.grad).sum() / (w.square().sum() + 1e-30) * w
                w.grad *= norm / (w.grad.norm() + 1e-30)


class Egalitarian(Method):
    """Egalitarian gradient descent (Pasand and Dohmatob 2025, arXiv 2510.04930): G = U S Vᵀ <- U Vᵀ.

    All directions of a matrix's gradient become equally fast, but singular values below x shrink by x (1e-6 in the
    authors' code, which stops this once *test* accuracy is above 95 %; here it goes on).
    """

    def before(self, lr: float) -> None:
        for w in self.trained.matrices:
            # LAPACK refuses what is not finite; the loss is not finite either, and tells the loop
            U, S, V = torch.linalg.svd(w.grad.nan_to_num(), full_matrices=False)
            w.grad = (U * (S / S.clamp(min=self.amount))) @ V


class ColumnNorm(Method):
    """Column-normalised gradient (Pasand and Dohmatob 2025, their simpler variant): each unit's gradient at norm 1.

    A column of theirs is a row here: the weights into one unit, or a token's embedding. What is shorter than x is
    divided by x instead (0.01 in the authors' code).
    """

    def before(self, lr: float) -> None:
        for w in self.trained.matrices:
            w.grad /= w.grad.norm(dim=1, keepdim=True).clamp(min=self.amount)


class NewtonSchulz(Method):
    """Muon with fewer Newton–Schulz steps (Jordan et al. 2024 take five): its updates are less orthogonal."""

    def __init__(self, amount: float, trained: Trained) -> None:
        super().__init__(amount, trained)
        for group in trained.optimizer.parts[-1].param_groups:
            group["ns_steps"] = int(amount)
