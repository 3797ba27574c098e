"""Backbones, the reasoner that thinks with them, and its checkpoints (safetensors only).

Any causal LM of transformers whose cache is keys and values will do (`families`).
"""

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from peft import LoraConfig, get_peft_model
from peft.tuners.lora.layer import LoraLayer, ParamWrapper
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase

from latent_backbones.parts import LanguageModel, body, embeddings_of, state_width
from latent_backbones.sources import one_line, read_source, smollm2_folder
from latent_backbones.tiny import tiny_lm
from latent_backbones.tokens import Markers, add_markers, markers_of, tiny_tokenizer
from latent_backbones.weights import load_lm, read_weights, save_tensors, set_weights
from latent_backbones.whole import check_whole
from latent_cot.families import TRIED, check_family, context_length, own_logits
from latent_cot.sequences import Batch
from latent_cot.simcot import StepDecoder
from latent_cot.thoughts import Context, Thinking, read_given, think, think_in_parallel  # fmt: skip
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
    markers_from: str = ""  # text whose first token they start as (official Coconut code: "<<"); "": near the mean of all
    lora_rank: int = 0  # 0: full fine-tuning
    lora_alpha: int = 32
    lora_dropout: float = 0.1
    lora_targets: Sequence[str] = field(default=(), hash=False)  # names of matrices; (): all of attention and MLP
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

    @property
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

    def given(self, batch: Batch) -> Float[Tensor, "batch held d"] | None:
        """Thoughts that wait for nothing the model says: an assistant's, whose states (a problem's first set of them) the
        projection turns into thoughts; a writer's that looks at no state; none."""
        if batch.states is not None:
            return self.writer(batch.states[:, 0])
        width = int(batch.n_thoughts.max())
        if width and not getattr(self.writer, "looks_at_nothing", False):
            return None
        nothing = embeddings_of(self.lm).new_zeros(len(batch.ids), state_width(self.lm))
        return torch.stack([self.writer(nothing, i) for i in range(width)], 1) if width else nothing[:, None][:, :0]

    def think(self, context: Context, batch: Batch, stop: Stop | None = None, leave_last: bool = False) -> Thinking:
        """A batch's thoughts, as this reasoner has them: one after another (`thoughts.think`), all at once, or given.
        `leave_last`: one that nothing waits for may be left unread, for `thoughts.read_behind`."""
        if stop is None and (given := self.given(batch)) is not None:
            return read_given(self.lm, context, batch.n_thoughts, given, leave_last)
        if self.spec.iterations:
            return think_in_parallel(self.lm, context, batch.n_thoughts, self.writer, self.spec.iterations)
        return think(self.lm, context, batch.n_thoughts, self.writer, stop, leave_last)

    @property
    def stop(self) -> Stop | None:
        """What ends thoughts before their number is reached: the classifier, the writer's own rule, or nothing."""
        if (classifier := self.stop_head) is not None:
            return lambda hidden: classifier(hidden).squeeze(-1) > 0
        return getattr(self.writer, "stops", None)


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
    reasoner = Reasoner(lm, tokenizer, spec)
    start_markers(reasoner)
    return lower_frozen(reasoner)


@torch.no_grad()
def start_markers(reasoner: Reasoner) -> None:
    """Where the spec's `markers_from` says so, give `<bot>` and `<eot>` that token's embedding and output weights."""
    if text := reasoner.spec.markers_from:
        source = reasoner.tokenizer(text, add_special_tokens=False).input_ids[0]
        markers = [marker for marker in (reasoner.markers.bot, reasoner.markers.eot) if marker is not None]
        for layer in (reasoner.lm.get_input_embeddings(), reasoner.lm.get_output_embeddings()):
            layer.weight[markers] = layer.weight[source].clone()


def add_lora(lm: LanguageModel, spec: ReasonerSpec) -> LanguageModel:
    """LoRA on every attention and MLP matrix, or on the spec's `lora_targets`; embeddings stay frozen, those of <bot> and <eot>
    too (CODI, app. A).

    Experts that are kept together in one parameter get it, too, but for dropout, which PEFT has for modules only.
    """
    gpt2 = lm.config.model_type == "gpt2"  # its matrices are Conv1D
    targets = [*spec.lora_targets] or (["c_attn", "c_proj", "c_fc"] if gpt2 else "all-linear")
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


def save_reasoner(reasoner: Reasoner, folder: Path) -> None:
    """Weights (tied ones once) and spec, the spec as the file's metadata."""
    save_tensors(folder / "model.safetensors", dict(reasoner.named_parameters()), {"spec": json.dumps(asdict(reasoner.spec))})


def spec_of(metadata: Mapping[str, str]) -> ReasonerSpec:
    """The spec that `save_reasoner` left in a file's metadata."""
    fields = json.loads(metadata["spec"])
    return ReasonerSpec(**fields | {name: tuple(fields.get(name, ())) for name in ("words", "lora_targets")})


def load_reasoner(folder: Path) -> Reasoner:
    """The reasoner that `save_reasoner` left. Raises UnusableModel for a file that is none."""
    path = Path(folder) / "model.safetensors"
    with one_line(path):
        check_whole(path)
        with safe_open(path, framework="pt") as file:
            spec = spec_of(file.metadata())
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}
        if spec.lm == "tiny":  # before memory is taken for it
            with torch.device("meta"):
                expected = {name: tuple(weight.shape) for name, weight in build_reasoner(spec).named_parameters()}
            if shapes != expected:
                raise ValueError("its weights are not those of the model that it says it is")
        reasoner = build_reasoner(spec)
        set_weights(reasoner, load_file(path))
    return reasoner


def warm_start(reasoner: Reasoner, folder: Path) -> None:
    """Take the LM's weights (not the writer's) from a saved reasoner on the same backbone, which LoRA may wrap since; its
    markers start where the spec says."""
    own = {n.replace(".base_layer.", ".").replace("base_model.model.", ""): n for n in reasoner.lm.state_dict()}
    weights = read_weights(Path(folder) / "model.safetensors")
    lm = {n.removeprefix("lm."): w for n, w in weights.items() if n.startswith("lm.")}
    load_lm(reasoner.lm, {own.get(name, name): w for name, w in lm.items()})
    start_markers(reasoner)
