"""Charts as pictures inside a page that carries no chart library: drawn once for light, once for dark."""

from __future__ import annotations

from html import escape

from switchpoint.analysis.report.marks import Spec, theme

STYLE = """
.picture svg { display: block; width: 100%; height: auto; }
.picture .dark { display: none; }
@media (prefers-color-scheme: dark) {
  .picture .dark { display: block; } .picture .light { display: none; }
}
@media print { .picture .dark { display: none; } .picture .light { display: block; } }
"""


def figure(spec: Spec, caption: str, *, width: int = 1060) -> str:
    """A chart with its caption; the page's light or dark mode chooses the drawing."""
    drawn = "".join(
        f'<div class="{mode}">{_svg(spec, width, dark=mode == "dark")}</div>' for mode in ("light", "dark")
    )
    return (
        f'<figure><div class="picture" role="img" aria-label="{escape(caption)}">{drawn}</div>'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _svg(spec: Spec, width: int, *, dark: bool) -> str:
    import vl_convert  # heavy, and only pages need it

    return str(vl_convert.vegalite_to_svg({**spec, "width": width, "config": theme(dark=dark)}))
