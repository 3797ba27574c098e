"""The box at a lesson's end: every claim of its studies once, by verdict, with its numbers; no study that is not there."""

import re

import pytest

from latent_reports.found import BOXES, box
from latent_reports.papers import PAPERS

STUDY = next(study for paper in PAPERS for study in paper.studies if len(study.claims) > 3)


def test_every_claim_stands_once_under_its_verdict():
    told = box([STUDY.title])
    parts = re.split(r"\*\*(.+?)\*\*\n", told)[1:]
    assert parts[::2] == [*BOXES]
    claims = [line for part in parts[1::2] for line in part.splitlines() if line.startswith("- ") and line != "- nothing"]
    assert len(claims) == len(STUDY.claims) * len(STUDY.measures)
    for heading, text in zip(parts[::2], parts[1::2]):
        for verdict in re.findall(
            r"\((agrees|disagrees|inside the noise|not judged|at the floor|not run|by construction)\)\.", text
        ):
            assert verdict in BOXES[heading]


def test_a_study_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="no study is called 'Coconuts'"):
        box(["Coconuts"])
