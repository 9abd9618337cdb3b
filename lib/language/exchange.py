"""Transformers of other libraries: what goes to Hugging Face or TransformerLens, and what comes from there.

exchange.toml has the names. What a network of theirs has and ours lacks, such as a bias or a table of positions, is
zero there, and must be zero to come back. Whatever goes or comes, the logits of both networks are compared.
"""

import json
import tomllib
from dataclasses import asdict, dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from lib.config import ModelConfig
from lib.language.networks import Network
from lib.language.tokenizers import Tokenizer
from lib.model import Transformer, make_norm
from lib.support.errors import UserError, first_line
from lib.support.files import clear_error, write_json

CONFIG, WEIGHTS = "config.json", "model.safetensors"  # in a folder of theirs
Settings = dict[str, Any]  # the fields of their config
TABLES = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
WRITTEN = ("tied", "dropout", "any_bias")  # our fields that are not read: the weights tell, or the logits do not depend
TOLERANCE = 1e-5  # of a logit; where the largest is above 1, as a share of it


@dataclass(frozen=True)
class Format:
    """A kind of networks in another library, as exchange.toml describes it."""

    name: str
    fields: dict[str, str]
    choices: dict[str, Any]
    modules: dict[str, str]
    fixed: Settings = field(default_factory=dict)
    inputs_first: bool = False
    halves: bool = False

    @classmethod
    def named(cls, name: str) -> "Format":
        own = dict(TABLES[name])
        like = TABLES[own.pop("like")] if "like" in own else {}
        tables = {key: like.get(key, {}) | value for key, value in own.items() if isinstance(value, dict)}
        return cls(name, **like | own | tables)

    def misfits(self, config: ModelConfig) -> list[str]:
        """What of a network does not fit, in words."""
        choices = dict(self.choices)
        if "d_ff" not in self.fields.values():
            choices["d_ff"] = [4 * config.d_model]
        if "gated" in self.fields.values() and config.activation == "swiglu":
            choices["bias"] = [False]
        return [
            f"model.{name} = {getattr(config, name)!r}: must be {' or '.join(map(str, values))} for {self.name}"
            for name, values in choices.items()
            if getattr(config, name) not in values
        ]

    def names(self, ours: str) -> Settings:
        """Our values of a field -> what they are called there; empty if they are the same."""
        values = self.choices.get(ours)
        return {our: name or None for our, name in values.items()} if isinstance(values, dict) else {}

    def settings(self, config: ModelConfig, vocab_size: int) -> Settings:
        """Their config of a network that fits."""
        ours = asdict(config) | {"vocab_size": vocab_size, "d_head": config.d_model // config.n_heads}
        ours |= {"norm_eps": eps(config), "gated": config.activation == "swiglu"}
        ours |= {"any_bias": config.bias or config.qkv_bias}
        return self.fixed | {name: self.names(our).get(ours[our], ours[our]) for name, our in self.fields.items()}

    def config(self, said: Settings, base: ModelConfig) -> ModelConfig:
        """Our config of their network; what theirs does not say is as in `base`.

        Raises UserError, naming the fields, if we have no such network.
        """
        ours = {our: next(iter(values)) for our, values in self.choices.items()}
        for name, our in reversed(self.fields.items()):  # of several fields for one of ours the first counts
            known = {called: value for value, called in reversed(self.names(our).items())}
            if (value := said.get(name)) in known or value is not None:
                ours[our] = known.get(value, value)
        ours.setdefault("d_ff", 4 * ours["d_model"])
        config = replace(base, **{our: ours[our] for our in ours if hasattr(base, our) and our not in WRITTEN})
        if eps(plain := replace(config, norm_eps=0.0)) == config.norm_eps:
            config = plain
        wrong = self.misfits(config)
        for name, value in self.settings(config, ours["vocab_size"]).items():
            if self.fields.get(name) not in WRITTEN and said.get(name) not in (value, None):
                wrong.append(f"{name} = {said[name]!r}: must be {value!r}")
        if wrong:
            raise UserError("; ".join(wrong))
        return config

    def parts(self, state: dict[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
        """Our name -> a view of the part of their tensors that has its numbers, in our order."""
        found = {}
        for (ours, theirs), kind in product(self.modules.items(), (".weight", ".bias")):
            module, _, third = theirs.partition(":")
            for i in map(str, range(config.n_layers if "*" in ours else 1)):
                part = state.get((module + kind).replace("*", i))
                if part is None:
                    continue
                if self.inputs_first and "*" in ours and part.ndim == 2:
                    part = part.mT
                if third:
                    part = part.chunk(3)[int(third)]
                if self.halves and ours.endswith(("query", "key")):
                    part = part.unflatten(0, (config.n_heads, 2, -1)).transpose(1, 2)
                found[(ours + kind).replace("*", i)] = part
        return found


def eps(config: ModelConfig) -> float:
    """What a network adds to the variance in its norms."""
    return getattr(make_norm(config), "eps", None) or torch.finfo(torch.float32).eps


class HuggingFace:
    """Folders that `from_pretrained` reads and `save_pretrained` writes."""

    package = "transformers"
    formats = {name: Format.named(name) for name in ("openai-gpt", "gpt2", "llama")}

    def new(self, kind: str, settings: Settings) -> Any:
        from transformers import AutoConfig, AutoModelForCausalLM, logging

        logging.disable_progress_bar()
        return AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **settings)).eval()

    def load(self, folder: Path) -> tuple[str, Settings, Any]:
        from transformers import AutoModelForCausalLM, logging

        logging.disable_progress_bar()
        logging.set_verbosity_error()  # it warns of what is an error here
        options = {"dtype": torch.float32, "local_files_only": True, "output_loading_info": True}
        theirs, told = AutoModelForCausalLM.from_pretrained(folder, **options)
        if random := told["missing_keys"] or told["mismatched_keys"]:
            raise ValueError(f"missing, or of another size: {min(random)}")
        return theirs.config.model_type, theirs.config.to_dict(), theirs.eval()

    def save(self, folder: Path, settings: Settings, theirs: Any) -> None:
        theirs.save_pretrained(folder)


class TransformerLens:
    """Folders with what `boot_native` takes, config.json, and the bridge's weights, model.safetensors."""

    package = kind = "transformer_lens"
    formats = {kind: Format.named(kind)}

    def new(self, kind: str, settings: Settings) -> Any:
        from transformer_lens.model_bridge import TransformerBridge

        return TransformerBridge.boot_native(settings, device="cpu")

    def load(self, folder: Path) -> tuple[str, Settings, Any]:
        from transformer_lens.conversion_utils import convert_tl_checkpoint

        said = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        theirs = self.new(self.kind, {name: said[name] for name in said if name not in ("device", "dtype")})
        tensors = load_file(folder / WEIGHTS)
        old = "embed.W_E" in tensors  # the names of HookedTransformer
        theirs.load_state_dict(convert_tl_checkpoint(tensors, theirs.cfg) if old else tensors)
        return self.kind, theirs.cfg.to_dict(), theirs

    def save(self, folder: Path, settings: Settings, theirs: Any) -> None:
        write_json(folder / CONFIG, settings)
        save_file(theirs.state_dict(), folder / WEIGHTS)


Library = HuggingFace | TransformerLens
LIBRARIES: dict[str, Library] = {"hf": HuggingFace(), "transformer_lens": TransformerLens()}


def leave(model: Network, tokenizer: Tokenizer, library: Library, folder: Path) -> None:
    """Write a network into a folder. Raises UserError, naming its fields, if the library has no such network."""
    config, vocab_size = model.config, len(model.output_weight)
    form = min(library.formats.values(), key=lambda form: len(form.misfits(config)))
    if misfits := form.misfits(config):
        raise UserError("; ".join(misfits))
    weights = {"unembed.weight": model.output_weight.detach()} | model.state_dict()
    if config.positions == "sinusoidal":
        weights["position.weight"] = model.sinusoids
    settings = form.settings(config, vocab_size) | {"bos_token_id": tokenizer.bos, "eos_token_id": tokenizer.eos}
    theirs = library.new(form.name, settings)
    for name, part in form.parts(theirs.state_dict(), config).items():
        part.copy_(weights[name].reshape(part.shape)) if name in weights else part.zero_()
    check_logits(model, theirs)
    with clear_error(folder / WEIGHTS):
        library.save(folder, settings, theirs)
    (folder / WEIGHTS).chmod((folder / CONFIG).stat().st_mode)  # safetensors lets nobody else read


def enter(folder: Path, library: Library, base: ModelConfig) -> Transformer:
    """The network in a folder; what its config does not say is as in `base`. Raises UserError if it is none of ours."""
    if not (folder / CONFIG).is_file():
        raise UserError(f"must be a folder with a {CONFIG}")
    try:
        kind, said, theirs = library.load(folder)
    except Exception as error:  # of many kinds
        why = first_line(f"{type(error).__name__}: {error}")[:200]
        raise UserError(f"cannot be read by {library.package} ({why})") from None
    if kind not in library.formats:
        raise UserError(f"model_type = {kind!r}: must be {' or '.join(library.formats)}")
    form = library.formats[kind]
    config = form.config(said, base)
    parts = form.parts(theirs.state_dict(), config)
    biases = [name.removesuffix(".bias") for name, part in parts.items() if name.endswith(".bias") and part.any()]
    config = replace(
        config,
        tied=torch.equal(parts["embed.weight"], parts["unembed.weight"]),
        qkv_bias=any(name.endswith(("query", "key", "value")) for name in biases),
        bias=any(name.endswith(("out", "up", "gate", "down")) for name in biases),
    )
    model = Transformer(config, len(parts["embed.weight"])).eval()
    weights = model.state_dict()
    if lost := [name for name in biases if f"{name}.bias" not in weights]:
        raise UserError(f"bias of {lost[0]}: must be zero, for our networks have none there")
    for name, tensor in weights.items():
        tensor.copy_(parts[name].reshape(tensor.shape)) if name in parts else tensor.zero_()
    check_logits(model, theirs)
    return model


@torch.no_grad()
def check_logits(ours: Network, theirs: Any) -> None:
    """Raises UserError if the two networks' logits of some random tokens differ."""
    shape = (2, min(ours.config.context_length, 64))
    tokens = torch.randint(len(ours.output_weight), shape, generator=torch.Generator().manual_seed(0))
    told, logits = theirs(tokens), ours(tokens)
    difference = (logits - getattr(told, "logits", told)).abs().max().item()
    if not difference <= TOLERANCE * max(1.0, logits.abs().max().item()):
        raise UserError(f"logits differ by {difference:.2g} from those of the other library: must be equal")
