"""A pretrained model is read, or refused in one line that names it and says why; nothing of its own is run."""

import json
import pickle
import shutil
from dataclasses import asdict, replace

import pytest
import torch
from safetensors.torch import save_file
from transformers import PreTrainedTokenizerFast

from latent_backbones.sources import UnusableModel
from latent_backbones.tiny import tiny_lm
from latent_backbones.tokens import tiny_tokenizer
from latent_backbones.weights import read_weights, save_tensors
from latent_cot.models import ReasonerSpec, build_reasoner, load_reasoner, save_reasoner, warm_start

SPEC = ReasonerSpec(d_model=16, n_heads=2, context=32, words=("one", "two"))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A whole model as transformers saves it."""
    folder = tmp_path_factory.mktemp("model")
    tokenizer = tiny_tokenizer(("one", "two"))
    tiny_lm(tokenizer, d_model=16, n_layers=1, n_heads=2, context=32, embedding_std=0.02).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def copy(model, tmp_path):
    return shutil.copytree(model, tmp_path / "copy")


def change(path, **fields):
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def refused(folder, kind, message):
    with pytest.raises(kind, match=message) as error:
        build_reasoner(ReasonerSpec(lm=str(folder)))
    assert "\n" not in str(error.value) and str(folder) in str(error.value)


def test_a_model_in_a_folder_is_read(model):
    assert build_reasoner(ReasonerSpec(lm=str(model))).context_length == 32


@pytest.mark.parametrize("name", ["no/such/model", "./nowhere", "nobody/nothing-at-all", "a b", "/"])
def test_a_name_that_is_nowhere(name, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    kind, message = (UnusableModel, "folder without a model") if name == "/" else (OSError, "no such folder, and no such name")
    refused(name, kind, message)


def test_a_tokenizer_that_cannot_end_a_text(copy):
    PreTrainedTokenizerFast(tokenizer_file=str(copy / "tokenizer.json"), pad_token="<pad>").save_pretrained(copy)
    refused(copy, UnusableModel, "its tokenizer has no end of sequence.*eos_token")


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
@pytest.mark.parametrize("kind", ["gpt2", "mine"])
def test_code_of_a_models_own_is_never_run(name, kind, copy, tmp_path):
    trap = tmp_path / "ran"
    (copy / "mine.py").write_text(f"open({str(trap)!r}, 'w')\nclass Mine: pass\n")
    change(copy / "config.json", model_type=kind)
    change(copy / name, auto_map={auto: "mine.Mine" for auto in ("AutoConfig", "AutoModelForCausalLM", "AutoTokenizer")})
    refused(copy, UnusableModel, f"{name} asks for code of its own, which is not run")
    assert not trap.exists()


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, "\0", '{"model_type": "unheard-of"}', '{"model_type": 7}'])
def test_a_configuration_that_is_none(text, copy):
    (copy / "config.json").write_text(text)
    refused(copy, UnusableModel, "copy")


def files():
    yield "a pickle", pickle.dumps({"spec": 1})
    yield "nothing", b""
    yield "cut short", None
    yield "a header of 2**62 bytes", (2**62).to_bytes(8, "little") + b"{}"
    yield "zeros", bytes(1000)


@pytest.mark.parametrize(("case", "content"), [*files()], ids=lambda value: value if isinstance(value, str) else "")
def test_weights_that_are_none(case, content, copy, tmp_path):
    save_reasoner(build_reasoner(SPEC), tmp_path)
    path = tmp_path / "model.safetensors"
    content = path.read_bytes()[:-100] if content is None else content
    path.write_bytes(content)
    (copy / "model.safetensors").write_bytes(content)
    readers = (lambda: load_reasoner(tmp_path), lambda: warm_start(build_reasoner(SPEC), tmp_path), lambda: read_weights(path))
    for read in readers:
        with pytest.raises(UnusableModel, match="model.safetensors: no weights that can be read here") as error:
            read()
        assert "\n" not in str(error.value)
    refused(copy, UnusableModel, "no weights that can be read here")


def test_a_released_pickle_that_holds_more_than_tensors(tmp_path):
    trap = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return open, (str(trap), "w")

    torch.save({"codi.weight": Evil()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(UnusableModel, match="pytorch_model.bin: no weights that can be read here"):
        read_weights(tmp_path / "pytorch_model.bin")
    assert not trap.exists()


@pytest.mark.parametrize("metadata", [None, {"spec": "{"}, {"spec": "[]"}, {"spec": '{"lm": "tiny", "words": [], "wings": 2}'}])
def test_weights_that_are_not_of_a_reasoner(metadata, tmp_path):
    save_file({"x": torch.zeros(1)}, tmp_path / "model.safetensors", metadata)
    with pytest.raises(UnusableModel, match="model.safetensors"):
        load_reasoner(tmp_path)


def test_a_model_is_as_large_as_its_file(tmp_path):
    """A file of some kilobytes that says it is a model of terabytes is refused before there is one."""
    reasoner = build_reasoner(SPEC)
    save_reasoner(reasoner, tmp_path / "sound")
    load_reasoner(tmp_path / "sound")
    claims = asdict(replace(SPEC, d_model=2_000_000, n_layers=4))
    save_tensors(tmp_path / "huge" / "model.safetensors", dict(reasoner.named_parameters()), {"spec": json.dumps(claims)})
    with pytest.raises(UnusableModel, match="not those of the model that it says it is"):
        load_reasoner(tmp_path / "huge")
