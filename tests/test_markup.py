"""Whatever a question, a word or a name holds, no page takes it for markup."""

import html
import re

from latent_tasks import Graph
from latent_views import markup

ATTACK = "<script>alert(1)</script><img src=x onerror='a' \"b\">"


def test_every_text_is_escaped():
    graph = Graph((("r", ATTACK), ("r", "b")), "r", (ATTACK, "b"))
    pages = [
        markup.says(ATTACK),
        markup.heat_map(ATTACK, [ATTACK], {ATTACK: [(0.5, ATTACK, ATTACK)]}),
        markup.bars({ATTACK: 0.5}, {ATTACK: 0.25}),
        markup.tree(graph, {ATTACK: 0.5}, ATTACK),
        markup.card(ATTACK, None, 0.0, None, ATTACK),
    ]
    for page in pages:
        assert html.escape(ATTACK) in page
        assert not re.search(r"<(script|img)|onerror='a'", page)
