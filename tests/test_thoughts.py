"""A problem's thoughts, loss and answer are its own: alone or in company, cached or not (float64, tiny random LMs)."""

import random
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from peft import LoraConfig, get_peft_model
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from latent_backbones.parts import body
from latent_backbones.tokens import tiny_tokenizer
from latent_cot.curriculum import distill
from latent_cot.generation import Sampling, answer, answer_batch
from latent_cot.methods.codi import CodiOptions, supervise_codi
from latent_cot.models import Reasoner, ReasonerSpec
from latent_cot.sequences import IGNORED, Batch, Encoded, Sequence, collate, encode
from latent_cot.supervision import read_question, supervise_language
from latent_cot.thoughts import read, read_given, think, think_in_parallel
from latent_tasks import load_task

FAMILIES = ("gpt2", "llama")
WRITERS = ("hidden", "pause", "projection")
TASK = load_task("arithmetic", sizes={"train": 40}, n_steps=(1, 4))
families = pytest.mark.parametrize("family", FAMILIES)
writers = pytest.mark.parametrize("writer", WRITERS)
close = {"rtol": 1e-9, "atol": 1e-9}


def tiny_reasoner(family: str, writer: str = "hidden", seed: int = 0, dropout: float = 0.0, **spec) -> Reasoner:
    """Two layers, width 32, float64; weights large enough that every token matters."""
    torch.manual_seed(seed)
    tokenizer = tiny_tokenizer(TASK.words)
    special = {"bos_token_id": None, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": tokenizer.pad_token_id}
    common = {"vocab_size": len(tokenizer), "initializer_range": 0.3, **special}
    if family == "gpt2":
        drop = {"resid_pdrop": dropout, "embd_pdrop": dropout, "attn_pdrop": dropout}
        lm = GPT2LMHeadModel(GPT2Config(n_embd=32, n_layer=2, n_head=2, n_positions=96, **common, **drop))
    else:
        heads = {"num_attention_heads": 2, "num_key_value_heads": 1, "attention_dropout": dropout}
        shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "max_position_embeddings": 96}
        lm = LlamaForCausalLM(LlamaConfig(**shape, **heads, **common))
        for layer in lm.model.layers:  # LlamaRMSNorm computes in float32 whatever it is given; this one does not
            layer.input_layernorm, layer.post_attention_layernorm = torch.nn.RMSNorm(32), torch.nn.RMSNorm(32)
        lm.model.norm = torch.nn.RMSNorm(32)
    return Reasoner(lm, tokenizer, ReasonerSpec(writer=writer, **spec)).double()


def encoded(reasoner: Reasoner, n: int) -> list[Encoded]:
    """Problems whose questions and chains differ in length."""
    return encode(TASK.splits["train"][:n], reasoner.tokenizer)


def sequences(reasoner: Reasoner, n_thoughts: tuple[int, ...]) -> list[Sequence]:
    """One problem for each number of thoughts, with a teacher's language; the marker <eot> is read, not learned."""
    problems, rng = encoded(reasoner, len(n_thoughts)), random.Random(0)
    return [distill(n, True)(p, reasoner.markers, rng) for p, n in zip(problems, n_thoughts, strict=True)]


def prompts(reasoner: Reasoner, n_thoughts: tuple[int, ...]) -> list[Sequence]:
    return [replace(s, language=s.language[:1], teacher=()) for s in sequences(reasoner, n_thoughts)]


def think_through(reasoner: Reasoner, batch: Batch) -> list[torch.Tensor]:
    """Each problem's real thoughts, and the state they end in."""
    had = reasoner.think(read_question(reasoner, batch)[0], batch)
    return [torch.cat([z[kept], h[None]]) for z, kept, h in zip(had.thoughts, had.real, had.context.hidden, strict=True)]


def only(batch: Batch, i: int) -> Batch:
    """The same batch, read as a whole, of which only problem i is supervised."""
    cut = {}
    for name in ("language", "teacher"):
        labels = torch.full_like(getattr(batch, name).labels, IGNORED)
        labels[i] = getattr(batch, name).labels[i]
        cut[name] = replace(getattr(batch, name), labels=labels, n_supervised=int((labels != IGNORED).sum()))
    return replace(batch, **cut)


def right_padded(batch: Batch) -> Batch:
    """The same batch with its questions' padding on the right."""

    def shift(rows):
        n_real = batch.question_mask.sum(1).tolist()
        return torch.stack([row.roll(n - len(row)) for row, n in zip(rows, n_real, strict=True)])

    return replace(batch, question=shift(batch.question), question_mask=shift(batch.question_mask))


def left_padded(batch: Batch, extra: int = 5) -> Batch:
    return replace(
        batch,
        question=F.pad(batch.question, (extra, 0), value=3),  # any token: nothing may look at it
        question_mask=F.pad(batch.question_mask, (extra, 0), value=False),
    )


def gradients(reasoner: Reasoner, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    reasoner.zero_grad()
    loss.backward()
    return {n: p.grad.clone() for n, p in reasoner.named_parameters() if p.grad is not None}


# --- alone or in company -------------------------------------------------------------------------------------------


COMPANIES = {"left": lambda batch: batch, "more_left": left_padded, "right": right_padded}


@families
@writers
@pytest.mark.parametrize("padding", COMPANIES)
def test_thoughts_and_loss_are_the_same_alone_and_in_company(family, writer, padding):
    reasoner = tiny_reasoner(family, writer)
    company = sequences(reasoner, (3, 0, 2, 1))
    batch = COMPANIES[padding](collate(company, reasoner.markers))
    assert not batch.question_mask.all()
    together = think_through(reasoner, batch)
    for i, one in enumerate(company):
        alone = collate([one], reasoner.markers)
        torch.testing.assert_close(together[i], think_through(reasoner, alone)[0], **close)
        expected = supervise_language(reasoner, alone)["ce"]
        torch.testing.assert_close(supervise_language(reasoner, only(batch, i))["ce"], expected, **close)


@families
@writers
@pytest.mark.parametrize("distance", ["l1", "l2", "smooth_l1"])
def test_codi_losses_are_the_same_alone_and_in_company(family, writer, distance):
    """Without `divide_by_std`: a standard deviation over the batch is a statistic of the company."""
    reasoner = tiny_reasoner(family, writer)
    options = CodiOptions(divide_by_std=False, distance=distance)
    company = sequences(reasoner, (3, 0, 2, 1))
    alone = [supervise_codi(reasoner, collate([s], reasoner.markers), options) for s in company]
    for order in ((0, 1, 2, 3), (2, 3, 1), (1, 2)):
        batch = left_padded(collate([company[i] for i in order], reasoner.markers))
        for row, i in enumerate(order):
            losses = supervise_codi(reasoner, only(batch, row), options)
            for part in ("student", "teacher"):
                torch.testing.assert_close(losses[part], alone[i][part], **close)
        mean = sum(alone[i]["distill"] for i in order) / len(order)
        torch.testing.assert_close(losses["distill"], mean, **close)


@families
@writers
def test_greedy_answers_are_the_same_alone_and_in_company(family, writer):
    reasoner = tiny_reasoner(family, writer)
    company = prompts(reasoner, (3, 0, 2, 1))
    together = answer_batch(reasoner, company, 8)
    in_small_batches = answer(reasoner, company, 8, batch_size=2)
    for i, prompt in enumerate(company):
        (alone,) = answer_batch(reasoner, [prompt], 8)
        for one in (together[i], in_small_batches[i]):
            assert (one.id, one.tokens, one.text) == (alone.id, alone.tokens, alone.text)
            torch.testing.assert_close(one.thoughts, alone.thoughts, **close)
        assert alone.n_tokens == prompt.n_thoughts + len(alone.tokens)


@pytest.mark.parametrize("padding, same", [(0, True), (4, False)])
def test_attending_to_padding_matters_only_where_there_is_some(padding, same):
    reasoner = tiny_reasoner("gpt2", "projection")
    batch = left_padded(collate(sequences(reasoner, (2,)), reasoner.markers), padding)
    fair, official = (supervise_codi(reasoner, batch, CodiOptions(attend_to_padding=a)) for a in (False, True))
    for part in ("student", "distill"):
        assert (abs(fair[part] - official[part]) < 1e-9) == same, part


@families
def test_positions_count_real_tokens(family):
    """Reading with holes in the mask is reading without the holes."""
    reasoner = tiny_reasoner(family)
    ids = torch.tensor([[3, 20, 3, 3, 21, 22, 3]])
    mask = torch.tensor([[False, True, False, False, True, True, False]])
    with_holes, levels = read(reasoner.lm, reasoner.embed(ids), mask)
    without, dense = read(reasoner.lm, reasoner.embed(ids[mask][None]), torch.ones(1, 3, dtype=torch.bool))
    torch.testing.assert_close(with_holes.hidden, without.hidden, **close)
    for a, b in zip(levels, dense, strict=True):
        torch.testing.assert_close(a[mask], b[0], **close)


@families
@writers
def test_each_thought_was_written_by_its_state(family, writer):
    """However it was had: one after another, all at once, given. The last state is that behind the last thought."""
    reasoner = tiny_reasoner(family, writer)
    batch = collate(sequences(reasoner, (3, 0, 2, 1)), reasoner.markers)
    question, _ = read_question(reasoner, batch)
    having = reasoner.lm, question, batch.n_thoughts, reasoner.writer
    loop = think(*having)
    ways = {"loop": loop, **{n: think_in_parallel(*having, n) for n in (1, 2, 3)}}
    for had in ways.values():
        assert had.states.shape == (4, 4, 32)
        for i in range(3):
            written = reasoner.writer(had.states[:, i], i)
            torch.testing.assert_close(written[had.real[:, i]], had.thoughts[had.real[:, i], i], **close)
    ways["given"] = read_given(reasoner.lm, question, batch.n_thoughts, loop.thoughts)
    for had in (loop, ways[3], ways["given"]):
        for row, n in enumerate(batch.n_thoughts.tolist()):
            torch.testing.assert_close(had.states[row, : n + 1], loop.states[row, : n + 1], **close)
    for had in ways.values():
        last = had.states[torch.arange(4), batch.n_thoughts]
        torch.testing.assert_close(last, had.context.hidden, **close)
    torch.testing.assert_close(loop.states[:, 0], question.hidden, **close)


def test_states_of_parallel_thoughts_are_the_same_alone_and_in_company():
    reasoner = tiny_reasoner("gpt2", "projection", iterations=1)
    company = prompts(reasoner, (3, 0, 2, 1))
    for one, together in zip(company, answer_batch(reasoner, company, 2), strict=True):
        torch.testing.assert_close(answer_batch(reasoner, [one], 2)[0].states, together.states, **close)


# --- cached = uncached ---------------------------------------------------------------------------------------------


def naive_prefix(reasoner: Reasoner, s: Sequence) -> torch.Tensor:
    """Question and thoughts as the papers describe them: for every thought the LM reads the whole prefix again."""
    embeds = reasoner.embed(torch.tensor([s.question]))
    for i in range(s.n_thoughts):
        hidden = body(reasoner.lm)(inputs_embeds=embeds, use_cache=False).last_hidden_state[:, -1]
        embeds = torch.cat([embeds, reasoner.writer(hidden, i)[:, None]], dim=1)
    return embeds


def naive_loss(reasoner: Reasoner, s: Sequence) -> torch.Tensor:
    """Summed cross-entropy of the supervised language after the naive prefix."""
    prefix, language = naive_prefix(reasoner, s), torch.tensor([s.language])
    logits = reasoner.lm(inputs_embeds=torch.cat([prefix, reasoner.embed(language)], 1), use_cache=False).logits[0]
    first = prefix.shape[1] + s.n_unsupervised
    return F.cross_entropy(logits[first - 1 : -1], language[0, s.n_unsupervised :], reduction="sum")


def naive_answer(reasoner: Reasoner, s: Sequence, n: int) -> list[int]:
    embeds = torch.cat([naive_prefix(reasoner, s), reasoner.embed(torch.tensor([s.language]))], 1)
    tokens: list[int] = []
    while len(tokens) < n and reasoner.markers.eos not in tokens:
        token = reasoner.lm(inputs_embeds=embeds, use_cache=False).logits[0, -1].argmax()
        embeds = torch.cat([embeds, reasoner.embed(token.view(1, 1))], 1)
        tokens.append(int(token))
    return tokens


@families
@writers
def test_cached_loop_equals_rereading_everything(family, writer):
    reasoner = tiny_reasoner(family, writer)
    company = sequences(reasoner, (3, 0, 2, 1))
    batch = collate(company, reasoner.markers)
    for cached, s in zip(think_through(reasoner, batch), company, strict=True):
        torch.testing.assert_close(cached[:-1], naive_prefix(reasoner, s)[0, len(s.question) :], **close)
    cached_loss = supervise_language(reasoner, batch)["ce"]
    naive = sum(naive_loss(reasoner, s) for s in company) / batch.language.n_supervised
    torch.testing.assert_close(cached_loss, naive, **close)
    cached_gradients, naive_gradients = gradients(reasoner, cached_loss), gradients(reasoner, naive)
    assert cached_gradients.keys() == naive_gradients.keys() == dict(reasoner.named_parameters()).keys()
    for name, gradient in cached_gradients.items():
        torch.testing.assert_close(gradient, naive_gradients[name], **close)


@families
def test_problems_that_finish_early_leave_the_others_as_they_are(family):
    reasoner = tiny_reasoner(family)
    company = prompts(reasoner, (3, 0, 2, 1, 2, 2))
    endless = [naive_answer(reasoner, s, 10) for s in company]
    # Let the end of sequence be the word by which these answers end at as many different places as possible.
    ends = {t: {row.index(t) for row in endless if t in row} for row in endless for t in row}
    reasoner.tokenizer.eos_token = reasoner.tokenizer.convert_ids_to_tokens(max(ends, key=lambda t: len(ends[t])))
    answers = answer_batch(reasoner, company, 10)
    assert len({len(a.tokens) for a in answers}) > 1
    assert [list(a.tokens) for a in answers] == [naive_answer(reasoner, s, 10) for s in company]


@families
def test_sampling_is_reproducible_and_top_1_is_greedy(family):
    reasoner = tiny_reasoner(family)
    company = prompts(reasoner, (2, 1, 3))

    def tokens(**sampling):
        return [a.tokens for a in answer_batch(reasoner, company, 12, Sampling(**sampling))]

    assert tokens(temperature=2.0, seed=5) == tokens(temperature=2.0, seed=5) != tokens(temperature=2.0, seed=6)
    assert tokens(temperature=2.0, top_k=1) == tokens(temperature=2.0, top_p=1e-6) == tokens()
    alone = [answer_batch(reasoner, [one], 12, Sampling(temperature=2.0, seed=5))[0].tokens for one in company]
    assert alone == tokens(temperature=2.0, seed=5)


def test_problems_without_an_id_do_not_share_random_numbers():
    """Two problems that the model finds equally hard are sampled apart, and as alone."""
    reasoner = tiny_reasoner("gpt2")
    with torch.no_grad():
        reasoner.lm.lm_head.weight.zero_()  # every word is as probable as any other, whatever is asked
    nameless = [replace(one, id="") for one in prompts(reasoner, (2, 2, 2))]
    warm = Sampling(temperature=1.0)
    answers = [a.tokens for a in answer_batch(reasoner, nameless, 12, warm)]
    assert len({*answers}) == 3
    assert answers == [answer_batch(reasoner, [one], 12, warm)[0].tokens for one in nameless]


@pytest.mark.parametrize("adapted", [False, True], ids=["plain", "LoRA"])
@pytest.mark.parametrize("several", [False, True], ids=["one end", "several"])
def test_every_end_of_sequence_of_the_generation_config_ends_an_answer(several, adapted):
    reasoner = tiny_reasoner("llama")
    company = prompts(reasoner, (1, 2, 0))
    endless = answer_batch(reasoner, company, 10)
    ends = [endless[0].tokens[4], endless[1].tokens[6]] if several else endless[0].tokens[4]
    reasoner.lm.generation_config.eos_token_id = ends
    if adapted:
        reasoner.lm = get_peft_model(reasoner.lm, LoraConfig(target_modules="all-linear")).double()
    known = {*ends} if several else {ends}
    for before, after in zip(endless, answer_batch(reasoner, company, 10)):
        n = next((i for i, token in enumerate(before.tokens) if token in known), 9) + 1
        assert after.tokens == before.tokens[:n], "nothing is written behind the first end"
        assert after.text == reasoner.tokenizer.decode([t for t in after.tokens if t not in known], skip_special_tokens=True)


def test_samples_follow_the_distribution():
    reasoner, warmth = tiny_reasoner("gpt2"), 0.3
    (one,) = prompts(reasoner, (2,))
    many = [replace(one, id=str(i)) for i in range(4000)]
    first = torch.tensor([a.tokens[0] for a in answer_batch(reasoner, many, 1, Sampling(temperature=warmth))])
    embeds = torch.cat([naive_prefix(reasoner, one), reasoner.embed(torch.tensor([one.language]))], 1)
    expected = (reasoner.lm(inputs_embeds=embeds).logits[0, -1] / warmth).softmax(-1)
    found = torch.bincount(first, minlength=len(expected)) / len(many)
    assert 0.3 < expected.max() < 0.9  # a distribution that is worth comparing
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=0.03)


# --- gradients, contexts -------------------------------------------------------------------------------------------


@families
@pytest.mark.parametrize("writer", ["nobody", *WRITERS])
def test_every_trainable_parameter_gets_a_gradient(family, writer):
    reasoner = tiny_reasoner(family, writer, learned_stop=writer != "nobody")
    n_thoughts = (0, 0) if writer == "nobody" else (2, 3)
    losses = supervise_language(reasoner, collate(sequences(reasoner, n_thoughts), reasoner.markers))
    found = gradients(reasoner, sum(losses.values()))
    assert [n for n, p in reasoner.named_parameters() if n not in found or not found[n].any()] == []


@families
@pytest.mark.parametrize("writer", ["hidden", "projection"])
def test_gradient_flows_back_through_the_loop(family, writer):
    """The last thought depends on the first."""
    reasoner = tiny_reasoner(family, writer)
    question = torch.tensor([encoded(reasoner, 1)[0].question])
    context, _ = read(reasoner.lm, reasoner.embed(question), torch.ones_like(question, dtype=torch.bool))
    written = []

    def write(hidden, i):
        written.append(reasoner.writer(hidden, i))
        return written[-1]

    think(reasoner.lm, context, torch.tensor([4]), write)
    (gradient,) = torch.autograd.grad((written[-1] * torch.randn(32)).sum(), written[0])
    assert gradient.any()


@families
def test_reading_on_leaves_the_given_context_usable(family):
    """A context is a value: two continuations of it know nothing of each other."""
    reasoner = tiny_reasoner(family)
    question, a, b = (torch.tensor([ids]) for ids in ((20, 21, 22, 23), (30, 31), (32, 33, 34)))

    def read_ids(ids, context=None):
        return read(reasoner.lm, reasoner.embed(ids), torch.ones_like(ids, dtype=torch.bool), context)[0]

    context = read_ids(question)
    before = context.hidden.clone()
    think(reasoner.lm, context, torch.tensor([2]), reasoner.writer)
    for continuation in (a, b, a):
        expected = read_ids(torch.cat([question, continuation], 1)).hidden
        torch.testing.assert_close(read_ids(continuation, context).hidden, expected, **close)
    assert context.mask.shape[1] == context.cache.get_seq_length() == 4
    assert torch.equal(context.hidden, before)
