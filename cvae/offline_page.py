"""A page that is one file: opened from disk, without any network.

Data travel as one block of JSON in which ``<`` cannot occur, and reach the document as text only.
The page's own Content-Security-Policy lets no script run but plotly.js and the page's behaviour (by
their hash), and lets nothing be loaded.
"""

from __future__ import annotations

import base64
import hashlib
import json


def fill(template: str, *, title: str, style: str, data: object, behaviour: str) -> str:
    """Return a page as text.

    Args:
        template: the markup; ``%%policy%%``, ``%%title%%``, ``%%style%%``, ``%%data%%``,
            ``%%plotly%%`` and ``%%behaviour%%`` stand in it once each, in this order.
        data: what JSON can hold, finite numbers only.
        behaviour: JavaScript that runs after plotly.js.
    """
    from plotly.offline import get_plotlyjs  # late: it reads 5 MB

    plotly = get_plotlyjs().replace("</script", "<\\/script")
    allowed = " ".join(f"'sha256-{_digest(script)}'" for script in (plotly, behaviour))
    parts = {
        "policy": f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'",
        "title": _escape(title),
        "style": style,
        "data": _json(data),
        "plotly": plotly,
        "behaviour": behaviour,
    }
    page = template
    for name, text in parts.items():
        # From the end, and in the template's order: a run that writes "%%plotly%%" into its
        # data stands before the real placeholder, so it is never the one replaced.
        before, _, after = page.rpartition(f"%%{name}%%")
        page = before + text + after
    return page


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")


def _escape(text: str) -> str:
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;")):
        text = text.replace(character, entity)
    return text


def _json(data: object) -> str:
    """Return JSON that may stand in a ``script`` element: nothing in it can end the element."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False, ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
