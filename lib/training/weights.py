"""Weights files: safetensors without pickle, with the config and the tokenizer as one JSON metadata key."""

import json
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from lib.config import RunConfig
from lib.language import networks, tokenizers
from lib.language.networks import Network
from lib.language.tokenizers import Tokenizer
from lib.support.errors import UserError, shortened
from lib.support.files import write_atomically
from lib.training.distributed import gather, rank
from lib.training.folder import CONFIG, WEIGHTS, damaged, read_config


def save_weights(
    path: Path, model: Network, config: RunConfig, tokenizer: Tokenizer, step: int, dtype: torch.dtype = torch.float32
) -> None:
    """Write the weights from rank 0; all processes must call."""
    path.parent.mkdir(exist_ok=True)
    about = {"config": config.to_dict(), "tokenizer": tokenizers.to_dict(tokenizer), "step": step}
    tensors = {name: gather(tensor) for name, tensor in model.state_dict().items()}
    if rank() == 0:
        tensors = {name: tensor.to(dtype).contiguous() for name, tensor in tensors.items()}
        # one metadata key: the order of several keys, and so the bytes, would vary
        write_atomically(path, save(tensors, metadata={"run": json.dumps(about, sort_keys=True)}))


def halve(folder: Path) -> None:
    """Store the weights of a run in float16, if there are any: half of the size, and the same answers."""
    if (folder / WEIGHTS).exists():
        with suppress(SafetensorError):  # a damaged file is told of when somebody asks for the weights
            with safe_open(folder / WEIGHTS, framework="pt") as opened:
                metadata, names = opened.metadata(), list(opened.keys())
                tensors = {name: opened.get_tensor(name).half() for name in names}
            write_atomically(folder / WEIGHTS, save(tensors, metadata=metadata))


def load_weights(path: str | Path, device: str = "cpu") -> tuple[Network, Tokenizer, RunConfig]:
    """The model in evaluation mode, its tokenizer and its config, from a run folder or a weights file.

    Raises UserError if the file is missing, damaged or foreign, or if the config.json beside the file does not fit.
    """
    path = Path(path)
    file = path / WEIGHTS if path.is_dir() else path
    if not file.is_file():
        raise UserError(f"{file}: no such weights file; must be a run folder with {WEIGHTS}, or such a file")
    open(file, "rb").close()  # where that is not allowed, Python names the file, and safetensors does not
    try:
        with safe_open(file, framework="pt", device=device) as opened:
            about = (opened.metadata() or {}).get("run")
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except SafetensorError as error:
        if file.suffix != ".safetensors":
            raise UserError(f"{file}: no weights file; must be a run folder with {WEIGHTS}, or such a file") from None
        raise damaged(file, f"not a whole safetensors file: {error}", again(file)) from None
    try:
        about = json.loads(about or "")
        config, tokenizer = RunConfig.from_dict(about["config"]), tokenizers.from_dict(about["tokenizer"])
    except (ValueError, KeyError, TypeError):
        what, other = "not a weights file of this project: it does not name its config", "python -m lib.export"
        raise UserError(f"{file}: {what}; from another library: {other} {file.parent} --from hf") from None
    beside = file.parent / CONFIG
    if beside.exists():
        check_same(beside, config)
    if not all(tensor.isfinite().all() for tensor in tensors.values()):
        raise damaged(file, "some weights are not finite numbers", again(file))
    model = networks.make(config.model, tokenizer.vocab_size)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        mismatch = str(error).splitlines()[1].strip()[:150]
        raise UserError(f"{file}: its config does not fit its weights ({mismatch})") from None
    return model.to(torch.device(device)).eval(), tokenizer, config


def again(file: Path) -> str:
    """What helps against damaged weights: a stored run is trained again only if its folder is gone."""
    folder = f"delete the run folder {file.parent} and " if (file.parent / CONFIG).exists() else ""
    return f"{folder}train its run again"


def check_same(path: Path, config: RunConfig) -> None:
    """Raises UserError, naming the first field, if the config.json at `path` is not `config`."""
    stored = read_config(path).flat()
    for name, value in config.flat().items():
        if stored[name] != value:
            there, allowed = shortened(stored[name]), shortened(value)
            raise UserError(f"{path}: {name} = {there} does not fit the weights; must be {allowed}")
