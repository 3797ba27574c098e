"""Model cards: a README.md beside each shipped model, written from the records of all its seeds: `make cards`.

They have the Hugging Face hub's form, so that `ModelCard.load(path).push_to_hub(name)` takes them as they are.
"""

import inspect
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pandas as pd
from huggingface_hub import EvalResult, ModelCard, ModelCardData
from safetensors import safe_open

from latent_cot.methods import TITLES
from latent_runs.places import ASSETS
from latent_runs.results import command, is_trusted
from latent_tasks import GENERATED, load_task
from latent_views.ready import recorded

TEMPLATE = Path(__file__).with_name("card.md")


def spread(shares: Sequence[float]) -> str:
    """Percent: mean ± standard deviation."""
    return f"{100 * fmean(shares):.1f}" + (f" ± {100 * stdev(shares):.1f}" if len(shares) > 1 else "")


def accuracies(metrics: dict[str, Any]) -> dict[str, float]:
    """A record's accuracies by what was asked: the test problems, under each control, problems of other kinds."""
    controls = {f"control: thoughts {name}": share for name, share in metrics.get("controls", {}).items()}
    elsewhere = {f"out of domain: {name}": found["accuracy"] for name, found in metrics.get("out_of_domain", {}).items()}
    return {"test": metrics["accuracy"]} | controls | elsewhere


def card(path: Path, record: dict[str, Any]) -> ModelCard:
    """The card of the model file `path`, which has this record."""
    seeds = [json.loads(one.read_text()) for one in sorted(path.parents[1].glob(f"{record['variant']}--s*/result.json"))]
    seeds = [one for one in seeds if is_trusted(one)]
    measured = [accuracies(one["metrics"]) for one in seeds]
    rows = {name: [shares[name] for shares in measured] for name in measured[0]}
    task, _, name = record["variant"].partition("-")
    with safe_open(path, framework="pt") as file:
        spec = json.loads(file.metadata()["spec"])
    parameters = pd.json_normalize(record["parameters"]).iloc[0].to_dict()
    recipe = GENERATED[parameters["task"]]  # of problems, perhaps with some options of its own
    score = {"task_type": "text-generation", "dataset_type": task, "dataset_name": f"{task} (generated)"}
    data = ModelCardData(
        language="en",
        license="apache-2.0",
        library_name="latent-cot",
        pipeline_tag="text-generation",
        tags=["latent-reasoning", "chain-of-thought", name],
        model_name=f"latent-cot {task} {name}",
        eval_results=[EvalResult(**score, metric_type="accuracy", metric_value=round(fmean(rows["test"]), 4))],
    )
    return ModelCard.from_template(
        data,
        template_path=str(TEMPLATE),
        title=f"{TITLES[name]} on {task}, in miniature",
        about=str(inspect.getdoc(inspect.getmodule(getattr(recipe, "func", recipe)))).partition("\n")[0],
        problem=load_task(parameters["task"], sizes={"test": 1}).splits["test"][0],
        recipe={name: value for name, value in sorted(parameters.items()) if value != "" and not name.endswith("dir")},
        rows=rows,
        seeds=[one["seed"] for one in seeds],
        thinks="controls" in record["metrics"],
        folder=path.parent.relative_to(ASSETS),
        **{"record": record, "task": task, "spec": spec, "spread": spread, "command": command(record)},
    )


if __name__ == "__main__":
    for path, record in recorded().items():
        card(path, record).save(path.with_name("README.md"))
        print(path.with_name("README.md").relative_to(ASSETS))
