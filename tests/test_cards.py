"""The shipped models have cards, which say what the records say and what the hub can read."""

import pytest
from huggingface_hub import ModelCard

from latent_views.cards import card, spread
from latent_views.ready import recorded


@pytest.mark.parametrize("path", recorded(), ids=lambda path: path.parent.name)
def test_the_card_beside_a_model_is_up_to_date(path):
    written, record = ModelCard.load(path.with_name("README.md")), recorded()[path]
    assert written.content == card(path, record).content, "run `make cards`"
    assert written.data.license == "apache-2.0"
    (score,) = written.data.eval_results
    assert f"| test | {100 * score.metric_value:.1f}" in written.content
    assert ("control: thoughts swapped" in written.content) == ("controls" in record["metrics"])
    assert record["variant"] in written.content and "{{" not in written.content


def test_a_single_seed_has_no_spread():
    assert (spread([0.5]), spread([0.4, 0.6])) == ("50.0", "50.0 ± 14.1")
