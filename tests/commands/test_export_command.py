"""`python -m lib.export` against the packages that it writes for: the same logits there, and back."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import SMALL_NETWORK, STORY_TEXT, VOCAB, build
from safetensors.torch import load_file, save_file

from lib import export, inference
from lib.config import ModelConfig, RunConfig
from lib.language import bpe, networks
from lib.language.exchange import LIBRARIES, enter, leave
from lib.language.gpt1 import GPT1Tokenizer
from lib.language.tokenizers import BytePairTokenizer, IdTokenizer, from_files
from lib.model import Transformer
from lib.support import errors
from lib.support.errors import UserError
from lib.training.weights import load_weights, save_weights

transformers = pytest.importorskip("transformers", reason="pip install transformers")
bridge = pytest.importorskip("transformer_lens.model_bridge", reason="pip install transformer-lens")

LLAMA = {"norm": "rmsnorm", "activation": "swiglu", "positions": "rope", "bias": False, "qkv_bias": False}
POWER = {"norm_placement": "post", "activation": "relu", "positions": "sinusoidal", "bias": False, "qkv_bias": False}
FITTING: list[tuple[str, dict[str, Any]]] = [
    ("hf", {}),
    ("hf", {"activation": "gelu_tanh", "tied": False, "bias": False, "norm_eps": 1e-3, "d_ff": 40}),
    ("hf", {"activation": "relu", "positions": "none", "qkv_bias": False}),
    ("hf", {"norm_placement": "post", "activation": "gelu_tanh", "d_ff": 64}),
    ("hf", POWER | {"tied": False, "d_ff": 64}),
    ("hf", LLAMA),
    ("hf", LLAMA | {"bias": True, "qkv_bias": True, "tied": False, "norm_eps": 1e-2}),
    ("transformer_lens", {}),
    ("transformer_lens", {"activation": "gelu_tanh", "bias": False, "positions": "sinusoidal", "norm_eps": 1e-3}),
    ("transformer_lens", {"norm": "none", "activation": "relu", "positions": "none", "tied": False}),
    ("transformer_lens", LLAMA | {"qkv_bias": True, "norm_eps": 1e-2}),
    ("transformer_lens", LLAMA | {"activation": "gelu", "bias": True}),
]
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("hf", {"norm": "none"}, "model.norm = 'none': must be layernorm for gpt2"),
    ("hf", {"positions": "rope"}, "model.positions = 'rope': must be learned or sinusoidal or none for gpt2"),
    ("hf", {"output": "stablemax"}, "model.output = 'stablemax': must be softmax for gpt2"),
    ("hf", {"temperature": 2}, "model.temperature = 2.0: must be 1.0 for gpt2"),
    ("hf", {"kind": "lstm"}, "model.kind = 'lstm': must be transformer for gpt2"),
    (
        "hf",
        {"norm_placement": "post", "d_ff": 64},
        "model.activation = 'gelu': must be gelu_tanh or relu for openai-gpt",
    ),
    ("hf", POWER | {"d_ff": 60}, "model.d_ff = 60: must be 64 for openai-gpt"),
    ("hf", LLAMA | {"positions": "learned"}, "model.positions = 'learned': must be rope for llama"),
    ("transformer_lens", {"norm_placement": "post"}, "model.norm_placement = 'post': must be pre for transformer_lens"),
    ("transformer_lens", {"activation": "swiglu"}, "model.bias = True: must be False for transformer_lens"),
    ("transformer_lens", {"output": "stablemax"}, "model.output = 'stablemax': must be softmax for transformer_lens"),
]
TOKENS = SimpleNamespace(bos=None, eos=3)


def open_there(library: str, folder: Path) -> Any:
    """The network as the command says to open it."""
    found: dict[str, Any] = {}
    exec(export.OPEN[library].format(folder=str(folder)), found)
    return found["network" if library == "hf" else "bridge"]


@torch.no_grad()
def logits(network: Any, ids: torch.Tensor) -> torch.Tensor:
    told = network(ids)
    return getattr(told, "logits", told)


def names(cases: list[Any]) -> list[str]:
    return [" ".join([case[0], *map(str, case[1].values())]) for case in cases]


@pytest.mark.parametrize(("library", "options"), FITTING, ids=names(FITTING))
def test_a_network_computes_the_same_there_and_when_it_is_back(
    library: str, options: dict[str, Any], tmp_path: Path
) -> None:
    model = build(**options, dropout=0.1)
    ids = torch.randint(VOCAB, (4, 12), generator=torch.Generator().manual_seed(1))
    leave(model, TOKENS, LIBRARIES[library], tmp_path)
    theirs = open_there(library, tmp_path)
    torch.testing.assert_close(logits(theirs, ids), logits(model, ids), rtol=0, atol=1e-5)
    back = enter(tmp_path, LIBRARIES[library], model.config)
    assert torch.equal(logits(back, ids), logits(model, ids))
    as_table = {} if options.get("positions") == "rope" else {"positions": "learned"}
    assert back.config == replace(model.config, **as_table)


@pytest.mark.parametrize(("library", "options", "words"), REFUSED, ids=names(REFUSED))
def test_a_network_that_does_not_fit_is_refused_by_its_field(
    library: str, options: dict[str, Any], words: str, tmp_path: Path
) -> None:
    config = ModelConfig(**SMALL_NETWORK | {"d_ff": 64} | options)
    with pytest.raises(UserError) as error:
        leave(networks.make(config, VOCAB), TOKENS, LIBRARIES[library], tmp_path)
    assert str(error.value) == words and not list(tmp_path.iterdir())


def test_generation_there_ends_where_ours_does(tmp_path: Path) -> None:
    leave(build(dropout=0.1), TOKENS, LIBRARIES["hf"], tmp_path)
    said = transformers.AutoConfig.from_pretrained(tmp_path)
    assert (said.bos_token_id, said.eos_token_id, said.resid_pdrop) == (None, 3, 0.1)


# networks that were made there
THERE: list[tuple[str, dict[str, Any]]] = [
    ("gpt2", {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 12}),  # d_ff follows; GPT-2's own GELU
    ("openai-gpt", {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 12}),
    ("llama", {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}),
]
NATIVE = {"d_model": 16, "d_head": 8, "n_heads": 2, "n_layers": 2, "n_ctx": 12, "d_vocab": VOCAB, "act_fn": "relu"}


def made_there(folder: Path, kind: str, settings: dict[str, Any]) -> Any:
    """A network of Hugging Face with random weights, biases and norms, saved into a folder."""
    theirs = transformers.AutoModelForCausalLM.from_config(
        transformers.AutoConfig.for_model(kind, vocab_size=VOCAB, **settings)
    )
    for parameter in theirs.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    theirs.save_pretrained(folder)
    return theirs.eval()


@pytest.mark.parametrize(("kind", "settings"), THERE)
def test_what_hugging_face_made_comes_in(kind: str, settings: dict[str, Any], tmp_path: Path) -> None:
    theirs = made_there(tmp_path, kind, settings)
    ids = torch.randint(VOCAB, (4, 12))
    ours = enter(tmp_path, LIBRARIES["hf"], ModelConfig())
    torch.testing.assert_close(logits(ours, ids), logits(theirs, ids), rtol=0, atol=1e-5)
    assert ours.config.activation == {"llama": "swiglu"}.get(kind, "gelu_tanh")


@pytest.mark.parametrize(
    ("kind", "settings", "words"),
    [
        ("gpt2", {"activation_function": "silu"}, "model.activation = 'silu': must be one of"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx = True: must be False"),
        ("llama", {"num_key_value_heads": 1}, "num_key_value_heads = 1: must be 2"),
        ("llama", {"head_dim": 4}, "head_dim = 4: must be 8"),
        ("llama", {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}}, "'rope_theta': 500000.0.*10000.0"),
        ("gpt_neox", {}, "model_type = 'gpt_neox': must be openai-gpt or gpt2 or llama"),
    ],
)
def test_what_has_no_counterpart_here_is_refused(
    kind: str, settings: dict[str, Any], words: str, tmp_path: Path
) -> None:
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    made_there(tmp_path, kind, dict(THERE).get(kind, sizes) | settings)
    with pytest.raises(UserError, match=words):
        enter(tmp_path, LIBRARIES["hf"], ModelConfig())


def test_a_network_that_only_looks_alike_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What no field tells, the logits do."""
    theirs = made_there(tmp_path, *THERE[0])
    theirs.transformer.h[1].mlp.act = torch.nn.Tanh()
    monkeypatch.setattr(LIBRARIES["hf"], "load", lambda _: ("gpt2", theirs.config.to_dict(), theirs))
    with pytest.raises(UserError, match="logits differ by"):
        enter(tmp_path, LIBRARIES["hf"], ModelConfig())


def test_what_transformer_lens_made_comes_in(tmp_path: Path) -> None:
    theirs = bridge.TransformerBridge.boot_native(NATIVE)
    for tensor in theirs.state_dict().values():
        tensor += 0.1 * torch.randn_like(tensor)
    theirs.state_dict()["unembed.bias"].zero_()
    (tmp_path / "config.json").write_text(json.dumps(theirs.cfg.to_dict(), default=str))
    save_file(theirs.state_dict(), tmp_path / "model.safetensors")
    ids = torch.randint(VOCAB, (4, 12))
    ours = enter(tmp_path, LIBRARIES["transformer_lens"], ModelConfig())
    torch.testing.assert_close(logits(ours, ids), logits(theirs, ids), rtol=0, atol=1e-5)

    # the names and shapes of HookedTransformer
    places = {"attn": "W_Q W_K W_V W_O b_Q b_K b_V b_O", "mlp": "W_in b_in W_out b_out"}
    inside = [(i, place, name) for i in range(2) for place in places for name in places[place].split()]
    old = {f"blocks.{i}.{place}.{name}": getattr(theirs, name)[i] for i, place, name in inside}
    outside = {"embed": "W_E", "pos_embed": "W_pos", "unembed": "W_U"}
    old |= {f"{place}.{name}": getattr(theirs, name) for place, name in outside.items()} | {"unembed.b_U": theirs.b_U}
    norms = {name: tensor for name, tensor in theirs.state_dict().items() if "ln" in name}
    old |= {name.replace("weight", "w").replace("bias", "b"): tensor for name, tensor in norms.items()}
    old = {name: tensor.contiguous() for name, tensor in old.items()}
    save_file(old, tmp_path / "model.safetensors")
    assert torch.equal(logits(enter(tmp_path, LIBRARIES["transformer_lens"], ModelConfig()), ids), logits(ours, ids))

    save_file(theirs.state_dict() | {"unembed.bias": torch.ones(VOCAB)}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="bias of unembed: must be zero"):
        enter(tmp_path, LIBRARIES["transformer_lens"], ModelConfig())
    (tmp_path / "config.json").write_text(json.dumps(NATIVE | {"d_vocab_out": 3}))
    with pytest.raises(UserError, match="cannot be read by transformer_lens"):
        enter(tmp_path, LIBRARIES["transformer_lens"], ModelConfig())


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_grokked_network_goes_there_and_back(
    library: str, division: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there, back = tmp_path / "there", tmp_path / "back"
    assert export.main([str(division), "--to", library, "--out", str(there)]) == 0
    told = capsys.readouterr()
    assert told.out == f"{there}: open it with\n{export.OPEN[library].format(folder=str(there))}\n" and not told.err
    model, tokenizer, config = load_weights(division)
    ids = torch.randint(tokenizer.vocab_size, (64, 4))
    torch.testing.assert_close(logits(open_there(library, there), ids), logits(model, ids), rtol=0, atol=1e-5)
    meaning = json.loads((there / "run.json").read_text())["tokens"]
    assert meaning == [*map(str, range(97)), "/", "="]
    assert {path.stat().st_mode for path in there.iterdir()} == {(there / "run.json").stat().st_mode}

    assert export.main([str(there), "--from", library, "--out", str(back)]) == 0
    again, same_tokens, same = load_weights(back)
    assert torch.equal(logits(again, ids), logits(model, ids)) and (same_tokens, same) == (tokenizer, config)
    capsys.readouterr()
    inference.main([str(back), "--prompt", "12/5="])
    said = capsys.readouterr().out
    inference.main([str(division), "--prompt", "12/5="])
    assert said == capsys.readouterr().out != ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["back", "there"]


def a_run(folder: Path, tokenizer: Any, **options: Any) -> Transformer:
    """A run folder of a network that is not trained."""
    config = RunConfig(model=ModelConfig(**SMALL_NETWORK | {"d_ff": 64, "init": "torch"} | options))
    config = config.override({"data.task": "corpus", "data.window": 8, "data.tokenizer": "bpe"})
    model = networks.make(config.model, tokenizer.vocab_size).eval()
    save_weights(folder / "model.safetensors", model, config, tokenizer, 0)
    return model


@pytest.mark.parametrize("library", LIBRARIES)
def test_byte_pairs_go_in_the_files_that_hugging_face_reads(library: str, tmp_path: Path) -> None:
    learned = BytePairTokenizer.of(bpe.learn(bpe.count_pieces([STORY_TEXT]), 300), (bpe.END, "<|pause|>"))
    a_run(tmp_path / "run", learned, **LLAMA)  # for Llama's network, GPT-2's tokenizer
    assert export.main([str(tmp_path / "run"), "--to", library, "--out", str(tmp_path / "there")]) == 0
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "there")
    text = "the cat sees naïve 本\n\n x<|endoftext|>a dog<|pause|>"
    ids = learned.encode_documents(text).tolist()
    assert theirs(text)["input_ids"] == ids and theirs.eos_token_id == learned.eos and theirs.decode(ids) == text
    assert "tokens" not in json.loads((tmp_path / "there" / "run.json").read_text())

    assert from_files(tmp_path / "there", learned.vocab_size) == learned
    theirs.save_pretrained(tmp_path / "newer")  # tokenizer.json
    assert from_files(tmp_path / "newer", learned.vocab_size) == learned
    assert from_files(tmp_path / "newer", 400) == IdTokenizer(400)


def test_the_words_of_gpt1_go_and_come(tmp_path: Path) -> None:
    letters = "acdehinost,?'"
    joined = ("t h", "th e</w>", "a t</w>", "c at</w>")
    tokens = ("<unk>", *letters, *(f"{letter}</w>" for letter in letters), *(pair.replace(" ", "") for pair in joined))
    ours = GPT1Tokenizer(tokens, joined)
    a_run(tmp_path / "run", ours, norm_placement="post", activation="gelu_tanh")
    assert export.main([str(tmp_path / "run"), "--to", "hf", "--out", str(tmp_path / "there")]) == 0
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "there")
    text = "The cat sat, didn't it? <|endoftext|> xo"
    assert theirs(text)["input_ids"] == ours.encode_documents(text).tolist()
    assert from_files(tmp_path / "there", ours.vocab_size) == ours
    itself = from_files(tmp_path / "there", len(tokens))  # as GPT-1 has it, without the end
    assert isinstance(itself, GPT1Tokenizer) and (itself.specials, itself.eos, itself.bos) == ((), None, None)
    assert itself.encode("The cat") == ours.encode("The cat")


def test_without_a_vocabulary_text_is_token_ids(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made_there(tmp_path / "there", *THERE[0])
    assert export.main([str(tmp_path / "there"), "--from", "hf", "--out", str(tmp_path / "here")]) == 0
    assert "a text is token ids" in capsys.readouterr().err
    assert inference.main([str(tmp_path / "here"), "2", "--prompt", "3 14", "--seed", "0"]) == 0
    said = capsys.readouterr().out.split()
    assert said[:2] == ["3", "14"] and len(said) == 4
    assert inference.main([str(tmp_path / "here"), "--prompt", "3 15"]) == 1
    assert capsys.readouterr().err == "error: '3 15': must be token ids, numbers from 0 to 14\n"


def test_nothing_is_half_written_and_nothing_is_lost(
    memorized: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there = tmp_path / "there"
    call = [str(memorized), "--to", "hf", "--out", str(there)]

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(export, "write_json", full)
        assert export.main(call) == 1
    assert capsys.readouterr().err == f"error: {there}: cannot be written (No space left on device)\n"
    assert not list(tmp_path.iterdir())
    assert export.main(call) == 0
    old = (there / "model.safetensors").read_bytes()
    for taken in there, tmp_path, there / "config.json":
        assert export.main([*call[:-1], str(taken)]) == 1, taken
        assert f"{taken}: exists; must be a new or empty folder" in capsys.readouterr().err
    assert (there / "model.safetensors").read_bytes() == old and list(tmp_path.iterdir()) == [there]


def test_what_cannot_be_read_is_named(tmp_path: Path, memorized: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made_there(tmp_path / "lost", *THERE[0])
    tensors = load_file(tmp_path / "lost" / "model.safetensors")
    del tensors["transformer.h.1.ln_2.bias"]
    save_file(tensors, tmp_path / "lost" / "model.safetensors", {"format": "pt"})
    shutil.copytree(tmp_path / "lost", tmp_path / "cut")
    (tmp_path / "cut" / "model.safetensors").write_bytes(b"cut off")
    shutil.copytree(tmp_path / "lost", tmp_path / "about")
    (tmp_path / "about" / "run.json").write_text("{}")
    for args, words in [
        ((tmp_path / "lost", "--from", "hf"), r"lost: cannot be read by transformers \(ValueError: missing.*ln_2.bias"),
        ((tmp_path / "cut", "--from", "hf"), "cut: cannot be read by transformers"),
        ((tmp_path / "cut", "--from", "transformer_lens"), "cut: cannot be read by transformer_lens"),
        ((tmp_path / "about", "--from", "hf"), "run.json: damaged"),
        ((tmp_path / "nothing", "--from", "hf"), "nothing: must be a folder with a config.json"),
        ((tmp_path / "nothing", "--to", "hf"), "nothing: no such file or folder"),
    ]:
        assert export.main([*map(str, args), "--out", str(tmp_path / "out")]) == 1
        told = capsys.readouterr().err
        assert told.startswith("error: ") and told.count("\n") == 1, told
        assert re.search(words, told), told
    assert not (tmp_path / "out").exists()


def test_without_the_package_one_line_says_what_to_install(
    memorized: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(errors, "find_spec", lambda _: None)
    assert export.main([str(memorized), "--to", "transformer_lens"]) == 1
    words = "needs the package transformer_lens; install it with: pip install transformer_lens"
    assert capsys.readouterr().err == f"error: --to transformer_lens: {words}\n"
