"""What thoughts hold: tables that follow from the records, and claims on which all seeds have to agree."""

from test_report import write

from latent_cot.methods import TITLES
from latent_reports.tables import MISSING, NONE, PAPER, load_table
from latent_reports.thoughts import thought_sections
from latent_views.plots import OUTCOMES

MIXED = TITLES["coconut_mixed"]


def section(folder, title):
    (found,) = (s for s in thought_sections(load_table(folder)) if s.title.startswith(title))
    return found


def test_frontier(tmp_path):
    for seed in (0, 1):
        write(tmp_path, "graph-coconut", seed)
    found = section(tmp_path, "Frontier")
    assert found.table.values.tolist() == [["Coconut", str(k), *["30.0"] * 4] for k in (1, 2)]
    told = "Coconut's thoughts hold the nodes that the search could reach: "
    assert f"{told}not judged (tier tiny)." in found.notes[0]
    write(tmp_path, "graph-coconut", 2)  # 20, 40, 60 %
    assert f"{told}inside the noise (tier tiny)." in section(tmp_path, "Frontier").notes[0]


def decoded(n_results, found, other, n=700):
    return {"results": n_results, "n": n, "found": found, "found in order": found / 2, "found in another's": other}


def test_results_in_the_thoughts_stand_beside_the_paper(tmp_path):
    for seed in (0, 1):
        write(tmp_path, "arithmetic-coconut", seed)
    write(tmp_path, "arithmetic-codi", extra={"decoded": [decoded(1, 0.9, 0.2, n=7), decoded(2, 0.4, 0.1, n=7)]})
    found = section(tmp_path, "Results in the thoughts")
    assert found.table.values.tolist() == [
        ["Coconut", "1", "4", "25.0 ± 0.0", "12.5 ± 0.0", NONE, NONE, "2"],
        ["Coconut", "2", "4", "50.0 ± 0.0", "25.0 ± 0.0", NONE, NONE, "2"],
        ["CODI", "1", "7", "90.0", "45.0", "20.0", "97.1 (V)", "1"],
        ["CODI", "2", "7", "40.0", "20.0", "10.0", "83.9 (V)", "1"],
    ]
    assert "most problems' steps (V): not judged" in found.notes[1] and "than another's: not judged" in found.notes[2]


def test_claims_on_the_results_weigh_all_problems_and_need_three_seeds(tmp_path):
    """Of a few problems with one result and many with two, the many decide."""
    for seed in range(3):
        rows = [decoded(1, 1.0, 0.9, 20), decoded(2, 0.30 + seed / 100, 0.1)]
        write(tmp_path, "arithmetic-codi", seed, extra={"decoded": rows})
    notes = section(tmp_path, "Results in the thoughts").notes
    assert "most problems' steps (V): disagrees" in notes[1] and "than another's: agrees" in notes[2]


def test_records_that_counted_otherwise_are_missing(tmp_path):
    """Those of before counted the last step's result, the answer; they are read and not mixed in."""
    old = {"decoded": [{"steps": 3, "n": 7, "found": 0.5, "found in another's": 0.1}]}
    write(tmp_path, "arithmetic-codi", 0, extra=old)
    write(tmp_path, "arithmetic-coconut", 0)
    found = section(tmp_path, "Results in the thoughts")
    assert found.table.values.tolist()[-1] == ["CODI", *[MISSING] * 7]
    assert "most problems' steps (V): not run" in found.notes[1]
    (tmp_path / "tiny" / "02_x" / "arithmetic-coconut--s0" / "result.json").unlink()
    assert section(tmp_path, "Results in the thoughts").table.values.tolist() == [["CODI", *[MISSING] * 7]]


def test_without_codi_its_claim_is_not_run(tmp_path):
    write(tmp_path, "arithmetic-coconut")
    assert "most problems' steps (V): not run (tier tiny)" in section(tmp_path, "Results in the thoughts").notes[1]


def test_results_of_graphs_have_no_paper_beside(tmp_path):
    write(tmp_path, "graph-codi", extra={"decoded": [decoded(2, 0.5, 0.1)]})
    assert section(tmp_path, "Results in the thoughts").table[PAPER].tolist() == [NONE]


def swept(*accuracies, label=0.0):
    classes = [{**dict.fromkeys(OUTCOMES, 0.0), "Correct Path": a, "Hallucination": 1 - a} for a in accuracies]
    named = [{**dict.fromkeys(OUTCOMES, 0.0), "Correct Label": label, "Incorrect Label": 1 - label}] * (label > 0)
    rows = zip((*accuracies, label), classes + named)
    return {"k_sweep": [{"thoughts": k, "accuracy": a, "n": 1000, **shares} for k, (a, shares) in enumerate(rows)]}


def test_outcomes_by_number_of_thoughts(tmp_path):
    write(tmp_path, "graph-coconut_mixed", 0, extra=swept(0.5, 0.75, label=0.9))
    write(tmp_path, "graph-coconut_mixed", 1, extra=swept(0.6, 0.85, label=0.8))
    assert (
        f"{MIXED}: without thoughts still above CoT: not run, CoT missing (tier tiny)." in section(tmp_path, "Outcomes").notes
    )
    write(tmp_path, "graph-coconut_mixed", 2, extra=swept(0.55, 0.8, label=0.85))
    for seed in (0, 1, 2):
        write(tmp_path, "graph-cot", seed, extra=swept(0.5))
    found = section(tmp_path, "Outcomes")
    rows = {(row["method"], row["thoughts"]): row for row in found.table.to_dict("records")}
    assert [*rows] == [("CoT", "0"), *((MIXED, str(k)) for k in range(3))]
    assert (rows[MIXED, "1"]["right answer %"], rows[MIXED, "1"]["Hallucination %"]) == ("80.0 ± 5.0", "20.0")
    assert (rows[MIXED, "2"]["Correct Label %"], rows[MIXED, "2"]["seeds"]) == ("85.0", "3")
    told = f"{MIXED}: from 0 to 1 thoughts "
    assert f"{told}accuracy rises: agrees, 55.0 to 80.0 % (tier tiny)." in found.notes
    assert f"{told}Hallucination falls: agrees, 45.0 to 20.0 % (tier tiny)." in found.notes
    assert f"{told}Wrong Target falls: inside the noise, 0.0 to 0.0 % (tier tiny)." in found.notes
    above = f"{MIXED}: without thoughts still above CoT: inside the noise, +5.0 points"
    assert f"{above} (tier tiny)." in found.notes
    for seed in (0, 1, 2):
        write(tmp_path, "graph-pause_mixed", seed, extra=swept(0.56))
    beside = "; pauses, mixed stages, which have no thoughts of their own, +6.0 (tier tiny)."
    assert above + beside in section(tmp_path, "Outcomes").notes


def tree(first, second, near, far):
    """The probabilities of the two best nodes, without a thought and after one."""
    ranks = [
        {"thoughts": k, "rank": r, "mean": p, "size": 900}
        for k, pair in zip((0, 1), (first, second))
        for r, p in zip((1, 2), pair)
    ]
    heights = [
        {"height": h, "right": side, "mean": p, "size": 500}
        for h, p in ((0, near), (2, far))
        for side, p in ((True, p), (False, 0.1))
    ]
    return {"search_tree": {"ranks": ranks, "heights": heights}}


def test_search_tree(tmp_path):
    write(tmp_path, "graph-coconut_mixed", 0, extra=tree((0.4, 0.31), (0.9, 0.10), near=0.9, far=0.5))
    write(tmp_path, "graph-coconut_mixed", 1, extra=tree((0.5, 0.30), (0.99, 0.10), near=0.8, far=0.3))
    assert ": not judged (tier tiny)" in section(tmp_path, "Search tree, nodes by height").notes[0]
    write(tmp_path, "graph-coconut_mixed", 2, extra=tree((0.6, 0.29), (1.0, 0.10), near=0.85, far=0.4))
    ranks, heights = (section(tmp_path, f"Search tree, nodes by {what}") for what in ("probability", "height"))
    first, second = ranks.table.to_dict("records")
    assert (first["node 1 %"], first["node 2 %"]) == ("50.0 ± 10.0", "30.0 ± 1.0")
    assert (first["thoughts"], first["paper's thoughts"]) == ("0", "1"), "a step of ours is a node"
    assert first["paper, one problem %"] == "33.0 (2), 32.0 (2), 16.0 (2), 1.0 (2)"
    assert second["paper, one problem %"] == "87.0 (2), 12.0 (2)"
    assert "second and third best node shrinks: agrees, 30.0 to 10.0 % (tier tiny)" in ranks.notes[0]
    assert "lead of the best node over the second widens: agrees, 20.0 to 86.3 % (tier tiny)" in ranks.notes[1]
    assert heights.table["leads to the target %"].tolist() == ["85.0 ± 5.0", "40.0 ± 10.0"]
    assert "near the leaves are judged more accurately than high ones: agrees" in heights.notes[0]


def test_controls_alone_show_their_table_and_prove_nothing(tmp_path):
    write(tmp_path, "graph-pause_mixed", extra=swept(0.5, 0.7) | tree((0.6, 0.4), (0.9, 0.1), near=0.9, far=0.5))
    assert len(section(tmp_path, "Outcomes").notes) == 1
    for what in ("probability", "height"):
        assert ": not run (tier tiny)." in section(tmp_path, f"Search tree, nodes by {what}").notes[0]


def test_without_such_metrics_nothing_is_said(tmp_path):
    write(tmp_path, "arithmetic-cot")
    write(tmp_path, "graph-coconut", status="smoke")
    assert thought_sections(load_table(tmp_path)) == []
