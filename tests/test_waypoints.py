"""What thoughts on a graph carry is told from what they do not: the place, the answer, nothing."""

import json
import shutil

import pytest

from latent_probes.donors import Donation
from latent_probes.waypoints import waypoint_rate
from latent_reports.carried import measure
from latent_reports.tables import load_table
from latent_reports.thoughts import thought_sections
from latent_runs.places import RECORDED
from latent_tasks import Problem, load_task

TASK = load_task("graph", sizes={"test": 1}, depth=2, width=1)
HERE = Problem("r>a a>t u>v m>n ? t w from r", ("a",), "t")
DONOR = Problem("s>u u>x ? x y from s", ("u",), "x")  # in HERE its last node u leads to v
THIRD = Problem("s>m m>z ? z y from s", ("m",), "z")  # and this one's to n


def donated(with_donor: str, with_third: str, donor: Problem = DONOR, third: Problem = THIRD) -> Donation:
    return Donation(HERE, donor, third, f"The answer is: {with_donor}", f"The answer is: {with_third}")


@pytest.mark.parametrize(
    ("with_donor", "with_third", "rate"),
    [("v", "n", 1.0), ("x", "z", 0.0), ("t", "t", 0.0), ("v", "v", 0.0), ("n", "v", -1.0)],
    ids=["the place is carried", "the answer is", "nothing is", "neither depends on them", "the third's place"],
)
def test_the_rate_counts_what_follows_from_the_donors_place_alone(with_donor, with_third, rate):
    found = waypoint_rate(TASK, [donated(with_donor, with_third)])
    assert found["n"] == 1 and found["rate"] == rate


def test_pairs_that_cannot_tell_are_left_out():
    nowhere = Problem("s>q q>x ? x y from s", ("q",), "x")  # q has no arrow here
    own = Problem("s>a a>x ? x y from s", ("a",), "x")  # a leads to this problem's own answer
    shared = Problem("s>u u>z ? z y from s", ("u",), "z")  # a third problem that has come to the same node
    left_out = [donated("v", "n", nowhere), donated("t", "n", own), donated("v", "v", third=shared)]
    assert waypoint_rate(TASK, left_out) is None
    assert waypoint_rate(TASK, [*left_out, donated("v", "n")])["n"] == 1


def test_a_problem_of_one_step_has_come_nowhere():
    alone = Problem("s>x ? x y from s", (), "x")
    assert waypoint_rate(TASK, [donated("v", "n", alone)]) is None


def test_what_shipped_models_carry_stands_beside_their_records_and_in_a_table(tmp_path):
    """Of four hops, where Coconut's thoughts say the node and CODI's door left nothing in them."""
    for row in ("03_coconut_stages/ladder_4-coconut", "04_codi_self_distillation/ladder_4-codi"):
        here, there = (folder / "tiny" / f"{row}--s0" for folder in (RECORDED, tmp_path))
        shutil.copytree(here, there, ignore=shutil.ignore_patterns("carried.json"))
    found = {path.parent.name: json.loads(path.read_text()) for path in measure(tmp_path / "tiny", n_problems=200)}
    assert found["ladder_4-coconut--s0"]["rate"] > 0.8 > 0.2 > abs(found["ladder_4-codi--s0"]["rate"])
    (section,) = thought_sections(load_table(tmp_path))
    assert section.title == "What the thoughts carry: ladder_4, tier tiny"
    told = section.table.set_index("method")["most often carried"]
    assert told.to_dict() == {"Coconut": "the node that was reached", "CODI": "none that stands out of the noise"}
    assert "arrows" in section.notes[0] and "mixture" not in section.notes[0]
