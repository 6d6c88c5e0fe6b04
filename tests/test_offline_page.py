"""Tests of cvae.offline_page: data stay data, and only the page's own scripts may run."""

from __future__ import annotations

import base64
import hashlib
import json
import re

from cvae import offline_page

TEMPLATE = (
    '<meta content="%%policy%%"><title>%%title%%</title><style>%%style%%</style>'
    '<script id="data">%%data%%</script><script>%%plotly%%</script><script>%%behaviour%%</script>'
)
EVIL = "</script><b>%%plotly%%%%behaviour%% & \\u2028"


def test_what_data_say_never_becomes_markup() -> None:
    page = offline_page.fill(
        TEMPLATE, title=EVIL, style="p {}", data={"a": EVIL}, behaviour="let a = 1;"
    )
    scripts = re.findall(r"<script[^>]*>(.*?)</script", page, flags=re.DOTALL)
    assert len(scripts) == 3
    assert json.loads(scripts[0]) == {"a": EVIL}
    assert scripts[2] == "let a = 1;"
    assert page.count("plotly.js v") == 1
    assert "<title>&lt;/script&gt;" in page


def test_only_its_own_scripts_may_run() -> None:
    page = offline_page.fill(TEMPLATE, title="t", style="", data=None, behaviour="let b = 2;")
    policy = page[: page.index('">')]
    for script in re.findall(r"<script>(.*?)</script", page, flags=re.DOTALL):
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy and "unsafe-eval" not in policy
