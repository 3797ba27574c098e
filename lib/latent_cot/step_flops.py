"""What an optimiser step takes, counted from what it reads."""

from collections.abc import Callable
from collections.abc import Sequence as Seq

from torch import nn

from latent_backbones.parts import body
from latent_cot.models import Reasoner
from latent_cot.sequences import Sequence


def flops(reasoner: Reasoner) -> Callable[[Seq[Sequence]], float]:
    """What an optimiser step on given problems takes in products with matrices: 2 a weight and position forward, 2 backward,
    2 more where the weight is trained; the head at positions of language alone. Attention's own products, an assistant and a
    step decoder are not in it; thoughts that are written in parallel count once a round."""
    lm = body(reasoner.lm)
    head = reasoner.lm.get_output_embeddings().weight
    looked_up = {id(p) for module in lm.modules() if isinstance(module, nn.Embedding) for p in module.parameters()}
    inside = [p for p in lm.parameters() if p.dim() > 1 and id(p) not in looked_up | {id(head)}]
    price = [sum((6 if p.requires_grad else 4) * p.numel() for p in weights) for weights in (inside, [head])]
    rounds = reasoner.spec.iterations or 1

    def of(arranged: Seq[Sequence]) -> float:
        language = sum(len(one.language) + len(one.teacher) for one in arranged)
        read = sum(len(one.question) + rounds * one.n_thoughts for one in arranged) + language
        return float(price[0] * read + price[1] * language)

    return of
