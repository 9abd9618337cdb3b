"""Methods that act on the weights themselves, at the start or around each step."""

import torch
from torch import nn

from lib.methods.method import Method, Trained
from lib.objective import PATIENCE, first_crossing
from lib.optim import total_norm

TINY = 1e-8  # a norm that is not divided by


class RowStart(Method):
    """All rows of weights begin at norm x, each norm's gain and each bias as one row (cliptogrok, `init_norm`)."""

    def __init__(self, amount: float, trained: Trained) -> None:
        super().__init__(amount, trained)
        with torch.no_grad():
            for w in trained.weights:
                w *= amount / w.norm(dim=-1, keepdim=True).clamp(min=TINY)


class OrthogonalStart(Method):
    """All matrices begin orthogonal, at x times `model.init_scale` (AI-Scientist's grokking template; second-hand)."""

    def __init__(self, amount: float, trained: Trained) -> None:
        super().__init__(amount, trained)
        for w in trained.matrices:
            nn.init.orthogonal_(w, amount * trained.network.config.init_scale)


class EmbeddingRate(Method):
    """A learning rate of their own for embeddings and output layer, x times that of the others.

    AI-Scientist's grokking template has rates by layer, the embeddings' the smallest (second-hand); AlquBoj et al. 2025
    (arXiv 2505.15624) derive a larger one. An update and its decay are proportional to the rate, so w <- v + x (w - v)
    with v the weights before the step is the step at that rate.
    """

    def before(self, lr: float) -> None:
        self.old = [w.clone() for w in self.trained.embeddings]

    def after(self, lr: float) -> None:
        for w, old in zip(self.trained.embeddings, self.old, strict=True):
            w.copy_(old.lerp(w, self.amount))


class ToStart(Method):
    """Decay towards the initial weights w₀: w <- w + η x (w₀ - w) (Power et al. 2022, Figure 2, code `to_init`).

    It acts on what `optim.decay` names, beside `optim.weight_decay`.
    """

    def __init__(self, amount: float, trained: Trained) -> None:
        super().__init__(amount, trained)
        self.decaying = trained.weights if trained.optimizer.config.decay == "all" else trained.matrices
        self.memory = [w.detach().clone() for w in self.decaying]

    def before(self, lr: float) -> None:
        torch._foreach_lerp_(self.decaying, self.memory, lr * self.amount)


class UpdateNoise(Method):
    """Noise on each update: w <- w - η x ξ, ξ normal (Power et al. 2022, Figure 2, code `noise_factor`)."""

    def after(self, lr: float) -> None:
        for w in self.trained.weights:
            w -= lr * self.amount * torch.randn_like(w)


class RowClip(Method):
    """Row-norm clipping (NiftyliuS/cliptogrok, 2026): r <- r min(1, x / ‖r‖) for each row r after each step.

    All weights but token embedding and output layer; a norm's gain and a bias are one row each. The author has Lion,
    no decay, and rows that begin at x.
    """

    def after(self, lr: float) -> None:
        for w in self.trained.inner:
            w *= (self.amount / w.norm(dim=-1, keepdim=True).clamp(min=TINY)).clamp(max=1)


class NormCap(Method):
    """Norm cap (PeterPonyu/muon-norm-cap-grokking, 2026): W <- W min(1, x ‖W₀‖ / ‖W‖) for the blocks' matrices.

    W₀ is the initial matrix, ‖·‖ the Frobenius norm. It only ever shortens, so that weight decay still acts.
    """

    def __init__(self, amount: float, trained: Trained) -> None:
        super().__init__(amount, trained)
        self.memory = [w.detach().norm() for w in trained.hidden]

    def after(self, lr: float) -> None:
        for w, norm in zip(self.trained.hidden, self.memory, strict=True):
            w *= (self.amount * norm / w.norm().clamp(min=TINY)).clamp(max=1)


class NormClamp(Method):
    """Norm clamp: all matrices together are held at L2 norm x, the column `matrix_norm` of metrics.csv.

    Truong et al. 2026 (arXiv 2606.13753): the time to grok grows exponentially with the norm, but not under LayerNorm.
    """

    def after(self, lr: float) -> None:
        torch._foreach_mul_(self.trained.matrices, self.amount / total_norm(self.trained.matrices))


class Freeze(Method):
    """Embeddings and output layer stay as they are once the network has grokked (Janati 2026, arXiv 2608.07436).

    It has when three evaluations in a row have *validation* accuracy x. (The author's code reads the test accuracy, has
    95 %, five evaluations, and 2,000 steps more.)
    """

    def __init__(self, amount: float, trained: Trained) -> None:
        super().__init__(amount, trained)
        self.n_rows, self.grokked = 0, False

    def before(self, lr: float) -> None:
        rows = self.trained.rows()
        if len(rows) > self.n_rows:  # a resumed run has its rows again, and so finds the same
            steps, accuracy = ([row[name] or 0.0 for row in rows] for name in ("step", "val_acc"))
            self.n_rows, self.grokked = len(rows), first_crossing(steps, accuracy, self.amount, PATIENCE) is not None
        self.kept = [w.clone() for w in self.trained.embeddings] if self.grokked else []

    def after(self, lr: float) -> None:
        for w, kept in zip(self.trained.embeddings, self.kept, strict=False):
            w.copy_(kept)
