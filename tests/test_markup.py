"""Whatever a question, a word or a name holds, no drawing takes it for markup."""

import html
import re

from latent_tasks import Graph
from latent_views import markup

ATTACK = "<script>alert(1)</script><img src=x onerror='a' \"b\">"


def test_every_text_is_escaped():
    graph = Graph((("r", ATTACK), ("r", "b")), "r", (ATTACK, "b"))
    drawn = markup.tree(graph, {ATTACK: 0.5}, ATTACK)
    assert html.escape(ATTACK) in drawn and not re.search(r"<(script|img)|onerror='a'", drawn)


def test_a_tree_is_drawn_of_any_graph():
    edges = (("a", "b"), ("b", "a"), ("c", "d"), ("d", "c"), ("e", "e"))
    drawn = markup.tree(Graph(edges, "a", ("b", "c")), {"b": 0.25})
    assert drawn.count("<circle") == 4 and "25%" in drawn
