"""What each of two processes does for test_distributed.py, which starts them with torchrun and looks at the folders."""

from collections.abc import Iterable
from pathlib import Path

from torch import Tensor

from lib.config import RunConfig
from lib.objective import Row
from lib.runs import stored
from lib.training import distributed
from lib.training.datasets import load_data
from lib.training.distributed import SharedLoop
from lib.training.folder import read_config
from lib.training.trainer import Trainer, train


def keep_half(config: RunConfig, folder: Path) -> None:
    """Four steps of a sharded run: this process has half of all weights, gradients and moments."""
    folder.mkdir()
    trainer = Trainer(config, load_data(config), folder, shard=True)

    def share(tensors: Iterable[Tensor]) -> float:
        return sum(x.to_local().numel() for x in tensors) / sum(x.numel() for x in tensors)

    seen = []
    trainer.model.blocks[0].feed_forward.up.register_forward_pre_hook(lambda up, _: seen.append(up.weight.dtype))
    trainer.loop.evaluate()
    for _ in range(4):
        trainer.loop.take_step()
    trainer.loop.evaluate()
    assert {str(dtype) for dtype in seen} == {f"torch.{config.train.precision}"}
    weights = list(trainer.model.parameters())
    states = [state for part in trainer.optimizer.parts for state in part.state.values()]
    moments = [x for state in states for name, x in state.items() if name != "step"]
    for kept in (weights, [w.grad for w in weights], moments):
        assert 0.4 < share(kept) < 0.6


def train_stop_and_diverge(config: RunConfig, folder: Path, shard: bool) -> None:
    """Two runs into an archive; one of them again in two parts, and again until the second process overflows."""
    stored.SWEEP, stored.CHECKPOINTS = 1, folder.resolve()  # only there archives are made
    configs = [config, config.override({"seed": 1})]
    stored.train_all({"x": configs}, root=folder, shard=shard)
    assert len({stored.stored("x", config, folder).path for config in configs}) == 2

    def stop(row: Row) -> None:
        if row["step"] == 4:
            raise InterruptedError

    try:
        train(config, folder / "parts", show=stop, shard=shard)
    except InterruptedError:
        distributed.barrier()
    train(config, folder / "parts", shard=shard)

    def overflow_in_the_second(loop: SharedLoop) -> None:
        take_step(loop)
        if distributed.rank() == 1 and loop.step == 6:
            loop.losses[-1] = loop.losses[-1] + float("inf")

    take_step, SharedLoop.take_step = SharedLoop.take_step, overflow_in_the_second
    train(config, folder / "diverged", shard=shard)
    SharedLoop.take_step = take_step


if __name__ == "__main__":
    with distributed.group("cpu"):
        train(read_config(Path("momentum.json")), Path("momentum"))
        for name in ("adamw", "muon"):
            keep_half(read_config(Path(f"{name}.json")), Path(f"{name}-{distributed.rank()}"))
        for shard in (False, True):
            train_stop_and_diverge(read_config(Path("dropout.json")), Path(f"shard-{shard}"), shard)
