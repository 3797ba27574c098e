"""What families of models do each in their own way: logits, what follows the last layer, how long a text may be.

Nothing here goes by a family's name. A model is asked: logits come out of its own `forward`, the chain behind the last layer
is what was seen to run there. README's table says which families were tried in full (`latent_reports.families`); any other
is tried when it is built (`check_family`), and refused if its thoughts, contexts or logits are not what they must be.
"""

import contextlib
import copy
import sys
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedConfig
from transformers.modeling_outputs import BaseModelOutputWithPast

from latent_backbones.parts import LanguageModel, body, causal, embeddings_of
from latent_cot.thoughts import Context, read, think

TRIED = (
    "bloom", "cohere", "falcon", "gemma2", "gemma3_text", "gpt2", "gpt_neo", "gpt_neox", "granite", "llama", "mistral",
    "mixtral", "mpt", "olmo2", "opt", "phi", "phi3", "qwen2", "qwen3", "qwen3_moe",
)  # fmt: skip
LIMITS = "max_position_embeddings", "max_seq_len", "n_positions"  # the names that families have for it
RUNNING_STATE = "its layers keep a running state, which cannot be forked or kept from what is hidden"
States = Float[Tensor, "*batch d_state"]


class UnsupportedModel(ValueError):
    """A model cannot think here; the message says why."""


class _OnlyStates(BaseModelOutputWithPast):
    """An output of a transformer that has nothing else, whatever a family may look for in it."""

    def __getattr__(self, name: str) -> None:
        return None


class _Echo(nn.Module):
    """In the place of a transformer: its output is its input."""

    def forward(self, *_, inputs_embeds: Tensor, **__) -> _OnlyStates:
        return _OnlyStates(last_hidden_state=inputs_embeds)


def _with(module: nn.Module, path: str, part: nn.Module) -> nn.Module:
    """A shallow copy of `module`, weights shared, with another part at `path`."""
    name, _, rest = path.partition(".")
    twin = copy.copy(module)
    twin._modules = {**module._modules, name: _with(module.get_submodule(name), rest, part) if rest else part}
    return twin


def own_logits(lm: LanguageModel) -> Callable[[States], Float[Tensor, "*batch v"]]:
    """From last hidden states to logits, as the model's own `forward` does it: head, bias, scaling (Granite, Cohere),
    soft-capping (Gemma 2). It is that `forward`, with the transformer taken out."""
    transformer = body(lm)
    path = next(name for name, module in causal(lm).named_modules() if module is transformer)
    ends = _with(causal(lm), path, _Echo())

    def logits(states):
        flat = ends(inputs_embeds=states.reshape(1, -1, states.shape[-1]), use_cache=False).logits
        return flat.reshape(*states.shape[:-1], flat.shape[-1])

    return logits


def context_length(lm: LanguageModel) -> int:
    """How many positions there are; where nothing limits them (BLOOM's ALiBi), as many as an int can say."""
    found = (getattr(body(lm).config, name, None) for name in LIMITS)
    return next((length for length in found if length), sys.maxsize)


def layers_of(lm: LanguageModel) -> nn.ModuleList:
    """The transformer's layers, whatever the family calls them. Raises UnsupportedModel where there is no such list."""
    transformer = body(lm)
    for module in transformer.children():
        if isinstance(module, nn.ModuleList) and len(module) == transformer.config.num_hidden_layers:
            return module
    raise UnsupportedModel(f"{transformer.config.model_type}: its transformer has no list of layers")


def set_layers(config: PreTrainedConfig, n_layers: int) -> None:
    """Make a config that of a model with only the first `n_layers`."""
    config.num_hidden_layers = n_layers
    if getattr(config, "layer_types", None):  # Qwen, Gemma: one for each layer
        config.layer_types = config.layer_types[:n_layers]


@torch.no_grad()
def lens(lm: LanguageModel) -> Callable[[States], States]:
    """What follows the last layer, usually the final norm: found by watching one token pass through.

    Raises UnsupportedModel where that is not a chain of modules, so that a layer's states cannot be read by the head.
    """
    transformer, last = body(lm), layers_of(lm)[-1]
    chain: list[nn.Module] = []
    states: list[Tensor] = []

    def leaves(module, inputs, output):
        states[:] = [output[0] if isinstance(output, tuple) else output]
        chain.clear()

    watched = [(last, leaves)]
    for child in transformer.children():
        if not isinstance(child, nn.ModuleList):
            watched.append((child, lambda module, inputs, output: chain.append(module)))
    embeds = transformer.get_input_embeddings()(torch.zeros(1, 1, dtype=torch.long, device=transformer.device))
    with contextlib.ExitStack() as hooks:
        for module, hook in watched:
            hooks.callback(module.register_forward_hook(hook).remove)
        expected = transformer(inputs_embeds=embeds, use_cache=False).last_hidden_state
    follow = nn.Sequential(*chain)
    found = follow(states[0])
    if found.shape != expected.shape or not torch.equal(found, expected):
        raise UnsupportedModel(f"{transformer.config.model_type}: what follows its last layer is not a chain of modules")
    return follow


def check_family(lm: LanguageModel) -> None:
    """Try a model on two random ragged rows; raise UnsupportedModel, with the reason, where it cannot think.

    Rows must be the same alone and in a batch, a context the same after something else was read from it, logits those of
    the model's own `forward`. Distances are relative to how much logits differ among themselves; rounding stays far below
    what is tolerated, a token too many or too few far above. A few dozen tokens are read.
    """
    name = body(lm).config.model_type
    training, lm = lm.training, lm.eval()
    try:
        with torch.no_grad():
            reason = _fault(lm)
    except Exception as error:
        reason = f"it cannot read embeddings with a cache ({type(error).__name__}: {str(error).partition(chr(10))[0]})"
    finally:
        lm.train(training)
    if reason:
        raise UnsupportedModel(f"model family {name!r}: {reason}; README has a table of families that work")


def _fault(lm: LanguageModel) -> str:
    """What is wrong with a model, or nothing."""
    kinds = getattr(body(lm).config, "layer_types", None) or ()
    if getattr(causal(lm), "_is_stateful", False) or any("attention" not in kind or "linear" in kind for kind in kinds):
        return RUNNING_STATE
    table, head, weights = body(lm).get_input_embeddings(), own_logits(lm), embeddings_of(lm)
    thoughts, random, device = (2, 1), torch.Generator().manual_seed(0), weights.device
    n_words = min(len(weights), len(lm.get_output_embeddings().weight))
    words = torch.randint(n_words, (2, 11), generator=random).to(device)
    questions, language = (words[:1, :7], words[1:, 4:7]), words[:, 9:]  # the thoughts between them are words, too

    def answers(context: Context, rows: slice) -> Float[Tensor, "batch language v"]:
        n_thoughts = torch.tensor(thoughts[rows], device=device)
        context = think(lm, context, n_thoughts, lambda _, i: table(words[rows, 7 + i])).context
        mask = torch.ones_like(language[rows], dtype=torch.bool)
        return head(read(lm, table(language[rows]), mask, context)[1][-1])

    def differ(found: Float[Tensor, "*batch v"], expected: Float[Tensor, "*batch v"]) -> bool:
        spread = expected.float() - expected.float().mean(-1, keepdim=True)
        return not (found.float() - expected.float()).norm() <= tolerance * spread.norm()

    tolerance, alone = max(1e-4, 8 * torch.finfo(weights.dtype).eps), []
    for i, question in enumerate(questions):
        rows = slice(i, i + 1)
        text = torch.cat([question, words[rows, 7 : 7 + thoughts[i]], language[rows]], 1)
        context, _ = read(lm, embeds := table(question), torch.ones_like(question, dtype=torch.bool))
        if differ(embeds, table(question)):
            return "it changes the embeddings that it is given"
        alone.append(answers(context, rows))
        if differ(alone[i], lm(input_ids=text, use_cache=False).logits[:, -2:]):
            return "read with a cache, its logits are not those of its own forward pass"
        if differ(answers(context, rows), alone[i]):
            return "its cache changes when it is read on from, so that nothing else can go on from the same place"
    padded = nn.utils.rnn.pad_sequence([question[0] for question in questions], batch_first=True, padding_side="left")
    mask = torch.arange(7, device=device) >= torch.tensor([[0], [4]], device=device)
    together = answers(read(lm, table(padded), mask)[0], slice(None))
    if any(differ(row, one[0]) for row, one in zip(together, alone)):
        return "a problem does not say in a batch what it says alone"
    return ""
