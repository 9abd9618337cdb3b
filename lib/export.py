"""`python -m lib.export PATH --to hf`: a network for Hugging Face or TransformerLens; `--from hf`: one from there."""

import sys
from dataclasses import replace
from pathlib import Path

from lib.config import DataConfig, RunConfig
from lib.language import exchange, tokenizers
from lib.language.bpe import Separated
from lib.language.exchange import LIBRARIES, Library
from lib.language.networks import Network
from lib.language.tokenizers import Tokenizer
from lib.runs.named import load
from lib.support.errors import Parser, UserError, check_package, named_path, one_line_errors, say
from lib.support.files import new_folder, write_json
from lib.training.folder import CONFIG, WEIGHTS, damaged, read_json
from lib.training.weights import save_weights

ABOUT = "run.json"
OURS = {"BytePairTokenizer": "bpe", "GPT1Tokenizer": "gpt1"}  # in data.tokenizer
THEIRS = {
    "BytePairTokenizer": {"tokenizer_class": "GPT2Tokenizer"},
    "GPT1Tokenizer": {"tokenizer_class": "OpenAIGPTTokenizer", "unk_token": "<unk>"},
}
OPEN = {
    "hf": """from transformers import AutoModelForCausalLM
network = AutoModelForCausalLM.from_pretrained({folder!r})""",
    "transformer_lens": """import json, safetensors.torch
from transformer_lens.model_bridge import TransformerBridge
bridge = TransformerBridge.boot_native(json.load(open({folder!r} + "/config.json")))
bridge.load_state_dict(safetensors.torch.load_file({folder!r} + "/model.safetensors"))""",
}


def parser() -> Parser:
    result = Parser(
        prog="python -m lib.export",
        description="Write a network as a folder that Hugging Face's transformers (as GPT-2, GPT-1 or Llama) or "
        "TransformerLens (as its native network) opens; or make a folder of theirs one that lib.inference opens.",
        epilog="A network that does not fit is refused, by the field that does not. run.json in the new folder tells "
        "what the token ids mean, and --from reads it. Without it, and without byte pairs, a text is token ids.",
        allow_abbrev=False,
    )
    what = "a run folder or its weights file; with --from a folder of theirs"
    result.add_argument("path", type=named_path, metavar="PATH", help=what)
    way = result.add_mutually_exclusive_group(required=True)
    way.add_argument("--to", choices=LIBRARIES, help="write for Hugging Face (hf) or TransformerLens")
    way.add_argument("--from", dest="origin", choices=LIBRARIES, help="bring in what one of them wrote")
    out = "the new folder (default: here, named after PATH)"
    result.add_argument("--out", type=named_path, metavar="FOLDER", help=out)
    return result


@one_line_errors
def main(argv: list[str] | None = None) -> int:
    args = parser().parse(argv)
    path, name = args.path, args.to or args.origin
    library = LIBRARIES[name]
    check_package(f"--{'to' if args.to else 'from'} {name}", library.package)
    place = path.resolve().parent if path.name == WEIGHTS else path.resolve()
    out = args.out or Path(f"{place.name.removesuffix('.safetensors')}-{args.to or 'run'}")
    model, tokenizer, config = load(path) if args.to else bring_in(path, library)
    with new_folder(out) as folder:
        if args.to:
            exchange.leave(model, tokenizer, library, folder)
            save_tokens(folder, tokenizer, config)
        else:
            save_weights(folder / WEIGHTS, model, config, tokenizer, step=0)
            write_json(folder / CONFIG, config.to_dict())
    how = f"open it with\n{OPEN[name].format(folder=str(out))}" if args.to else f"python -m lib.inference {out}"
    print(f"{out}: {how}")
    return 0


def save_tokens(folder: Path, tokenizer: Tokenizer, config: RunConfig) -> None:
    """Write what the run was, and what its token ids mean; byte pairs in the files that Hugging Face reads, too."""
    about = {"config": config.to_dict(), "tokenizer": tokenizers.to_dict(tokenizer)}
    if isinstance(tokenizer, Separated):
        tokenizer.save(folder)
        end, *others = tokenizer.specials or (None,)
        named = {f"{name}_token": end for name in ("bos", "eos", "unk")} | {"additional_special_tokens": others}
        write_json(folder / "tokenizer_config.json", named | THEIRS[type(tokenizer).__name__])
    else:
        about["tokens"] = [tokenizer.decode([i]) for i in range(tokenizer.vocab_size)]
    write_json(folder / ABOUT, about)


def bring_in(path: Path, library: Library) -> tuple[Network, Tokenizer, RunConfig]:
    """The network in a folder of the library, in evaluation mode, its tokenizer, and the config of a run like it."""
    config, tokenizer = read_about(path / ABOUT) if (path / ABOUT).exists() else (RunConfig(), None)
    try:
        model = exchange.enter(path, library, config.model)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    vocab_size, window = len(model.output_weight), model.config.context_length
    if tokenizer is None or tokenizer.vocab_size != vocab_size:
        tokenizer = tokenizers.from_files(path, vocab_size)
        kind = OURS.get(type(tokenizer).__name__, "character")
        config = RunConfig(DataConfig("corpus", corpus=str(path), tokenizer=kind, window=window))
        if isinstance(tokenizer, tokenizers.IdTokenizer):
            say(f"{path}: no vocabulary of a known kind: a text is token ids")
    return model, tokenizer, replace(config, model=model.config)


def read_about(path: Path) -> tuple[RunConfig, Tokenizer]:
    remedy = "delete it: without it, a text is token ids"
    about = read_json(path, remedy=remedy)
    try:
        return RunConfig.from_dict(about["config"]), tokenizers.from_dict(about["tokenizer"])
    except (ValueError, KeyError, TypeError) as error:
        raise damaged(path, error, remedy) from None


if __name__ == "__main__":
    sys.exit(main())
