"""The small GPT-2s of the tiny tier, trained from scratch in minutes, and how they read a graph."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerBase


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
        self.edges: Tensor
        self.register_buffer("edges", edges, persistent=False)

    def forward(self, ids: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch tokens d"]:
        n_plain = self.tokens.num_embeddings
        plain = self.tokens(ids.clamp(max=n_plain - 1))
        if not (ids >= n_plain).any():
            return plain
        ends = self.edges[(ids - n_plain).clamp(min=0)]
        edge = self.source(self.tokens(ends[..., 0])) + self.target(self.tokens(ends[..., 1]))
        return torch.where((ids >= n_plain)[..., None], edge, plain)


def tiny_lm(
    tokenizer: PreTrainedTokenizerBase, *, d_model: int, n_layers: int, n_heads: int, context: int, embedding_std: float
) -> GPT2LMHeadModel:
    """A small GPT-2 from scratch, without dropout. Edge words (`a>b`) close the vocabulary and get `EdgeEmbedding`.

    `embedding_std` is the spread of the token embeddings at the start.
    """
    ids = tokenizer.get_vocab()
    vocabulary = sorted(ids, key=lambda word: ids[word])
    edge_words = [word for word in vocabulary if word[0].isalpha() and ">" in word]
    n_plain = len(vocabulary) - len(edge_words)
    eos, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    config = GPT2Config(
        vocab_size=n_plain,
        n_embd=d_model,
        n_layer=n_layers,
        n_head=n_heads,
        n_positions=context,
        attn_pdrop=0.0,
        embd_pdrop=0.0,
        resid_pdrop=0.0,
        bos_token_id=eos,
        eos_token_id=eos,
        pad_token_id=pad,
        activation_function="gelu_pytorch_tanh",  # the same function as "gelu_new", in one fused kernel
    )
    lm = GPT2LMHeadModel(config)
    nn.init.normal_(lm.transformer.wte.weight, std=embedding_std)
    if edge_words:
        ends = [tokenizer.convert_tokens_to_ids(word.split(">")) for word in edge_words]
        lm.transformer.set_input_embeddings(EdgeEmbedding(lm.transformer.wte, torch.tensor(ends)))
    return lm
