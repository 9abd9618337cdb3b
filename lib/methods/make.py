"""The methods of a run."""

from collections.abc import Callable, Sequence

from torch import nn

from lib.config import RunConfig
from lib.methods import gradients, table, weights
from lib.methods.method import Method, Trained
from lib.objective import Row
from lib.optim import Optimizer

CLASSES: dict[str, type[Method]] = {
    "row_start": weights.RowStart,
    "orthogonal_start": weights.OrthogonalStart,
    "egalitarian": gradients.Egalitarian,
    "column_norm": gradients.ColumnNorm,
    "newton_schulz": gradients.NewtonSchulz,
    "embedding_rate": weights.EmbeddingRate,
    "to_start": weights.ToStart,
    "update_noise": weights.UpdateNoise,
    "row_clip": weights.RowClip,
    "norm_cap": weights.NormCap,
    "norm_clamp": weights.NormClamp,
    "freeze": weights.Freeze,
}


def make_methods(
    config: RunConfig, network: nn.Module, optimizer: Optimizer, rows: Callable[[], Sequence[Row]] = list
) -> list[Method]:
    """The methods of a run, in the order in which they act; those that change the initial weights have done so."""
    trained, amounts = Trained(network, optimizer, rows), table.check(config)
    made: list[Method] = []
    if config.optim.grokfast:
        made.append(gradients.Grokfast(config.optim.grokfast, trained))
    if config.optim.orthogonal:
        made.append(gradients.Orthogonal(1.0, trained))
    return made + [CLASSES[name](amounts[name], trained) for name in table.KNOWN if name in amounts]
