"""Every decoded answer of a run: what its measures can be taken from again, without the model or a GPU.

One JSON object a line and problem: `question`, `steps`, `answer`, `prediction`, and `decoded`, the most probable words of the
states behind its thoughts (so that `latent_probes.decodings.read_decodings` reads the file); `tokens` spent; `controls`, what
was said with the thoughts removed, swapped, averaged; `donor` and `third`, what was said with these problems' thoughts.
"""

import gzip
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from latent_cot.evaluation import Control, Evaluation
from latent_probes.decodings import Decoding
from latent_probes.donors import Donation


def save_answers(
    path: Path, asked: Mapping[Control, Evaluation], decoded: Sequence[Decoding], donations: Sequence[Donation]
) -> None:
    """Write the answers of all evaluations of a run; `decoded` and `donations` may be empty."""
    own = asked["thoughts"]
    lines = []
    for i, (problem, answer) in enumerate(zip(own.problems, own.answers, strict=True)):
        line: dict[str, Any] = {name: getattr(problem, name) for name in ("id", "question", "steps", "answer")}
        line |= {"prediction": answer.text, "tokens": answer.n_tokens, "decoded": decoded[i].decoded if decoded else ()}
        line["controls"] = {name: other.answers[i].text for name, other in asked.items() if other is not own}
        if donations:
            one = donations[i]
            line["donor"] = {"of": one.donor.id, "said": one.with_donor}
            line["third"] = {"of": one.third.id, "said": one.with_third}
        lines.append(json.dumps(line, ensure_ascii=False) + "\n")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress("".join(lines).encode(), mtime=0))
