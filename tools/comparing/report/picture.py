"""The findings as one SVG: small panels of horizontal bars, readable on light and on dark.

matplotlib lays it out. The colours it is given stand for variables, which a style sheet in the SVG sets for
either scheme; texts stay texts. Bars are on a scale of their panel's own, logarithmic where the slowest takes
more than `LINEAR` times as long as the fastest.
"""

import io
import re
from collections.abc import Sequence
from typing import Any

from tools.benchmarks.report import shown
from tools.comparing.report.panels import Panel

CAPTION = "Time that is taken, by blobfs and by what people use instead: shorter is better"
COLUMNS = 4
LINEAR = 12
USUAL = 7
"""Bars of a panel that are as thick as they can be: fewer leave room below them."""
WIDTH, PANEL_HEIGHT = 13.0, 1.75
"""Inches of the whole, and of a row of panels."""
INK, BAR, OURS, FAINT = "#010203", "#040506", "#070809", "#0a0b0c"
"""Stand for the variables below."""
VARIABLES = {INK: "--ink", BAR: "--bar", OURS: "--ours", FAINT: "--faint"}
LAYOUT_FONT = "DejaVu Sans"
"""matplotlib brings it along; the widest of those that a reader may have, so that texts fit."""
STYLE = """<style>
text { font-family: "DejaVu Sans", Verdana, Helvetica, Arial, sans-serif; }
svg { --ink: #1f2328; --bar: #b1bac4; --ours: #1a7f37; --faint: #6e7781; }
@media (prefers-color-scheme: dark) {
svg { --ink: #e6edf3; --bar: #57606a; --ours: #3fb950; --faint: #8b949e; } }
</style>"""
SETTINGS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "blobfs",  # the same findings make the same picture
    "font.size": 7.5,
    "font.family": LAYOUT_FONT,
}


def picture(panels: Sequence[Panel], *, quick: bool) -> str:
    """Raises ImportError without matplotlib."""
    caption = f"{CAPTION} (a quick run: everything was smaller than it says)" if quick else CAPTION
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(SETTINGS):
        rows = -(-len(panels) // COLUMNS)
        figure = Figure(figsize=(WIDTH, PANEL_HEIGHT * rows), layout="constrained")
        figure.patch.set_visible(False)
        figure.suptitle(caption, x=0.01, ha="left", fontsize=9, color=FAINT)
        axes = figure.subplots(rows, COLUMNS, squeeze=False).ravel()
        for ax in axes[len(panels) :]:
            ax.set_visible(False)
        for ax, panel in zip(axes, panels, strict=False):
            _draw(ax, panel)
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None, "Title": caption})
    return _with_style(drawn.getvalue())


def _draw(ax: Any, panel: Panel) -> None:
    bars = panel.bars[::-1]  # the first is drawn at the bottom
    values = [bar.value for bar in bars]
    low, high = min(values), max(values)
    is_logarithmic = low > 0 and high / low > LINEAR
    if is_logarithmic:
        ax.set_xscale("log")
        ax.set_xlim(low / 3, high * 3)
    else:
        ax.set_xlim(0, high * 1.25)
    ax.barh(
        [bar.peer for bar in bars], values, color=[OURS if bar.is_ours else BAR for bar in bars], height=0.7
    )
    ax.set_ylim(len(bars) - 0.5 - max(len(bars), USUAL), len(bars) - 0.5)
    for place, value in enumerate(values):
        ax.annotate(shown(value), (value, place), (2, 0), textcoords="offset points", va="center", color=INK)
    for bar, label in zip(bars, ax.get_yticklabels(), strict=True):
        label.set(color=OURS if bar.is_ours else INK, fontweight="bold" if bar.is_ours else "normal")
    ax.set_title(f"{panel.title} ({panel.unit}{', log' if is_logarithmic else ''})", loc="left",
                 fontsize=8.5, color=INK)  # fmt: skip
    if panel.failed:
        ax.set_xlabel(f"failed: {', '.join(panel.failed)}", loc="left", color=FAINT)
    ax.xaxis.set_major_locator(_nothing())
    ax.xaxis.set_minor_locator(_nothing())
    ax.tick_params(length=0)
    ax.patch.set_visible(False)
    for spine in ax.spines.values():
        spine.set_visible(False)


def _nothing() -> Any:
    from matplotlib.ticker import NullLocator

    return NullLocator()


def _with_style(svg: str) -> str:
    """Colours become variables, and fonts; the style sheet that sets them stands first."""
    svg = svg.replace(f"font-family: '{LAYOUT_FONT}'; ", "")
    svg = re.sub(r' transform="rotate\(-0 [^"]*\)"', "", svg)  # on every text, and does nothing
    for colour, variable in VARIABLES.items():
        svg = svg.replace(colour, f"var({variable})")
    start = svg.index(">", svg.index("<svg")) + 1
    return f"{svg[:start]}\n{STYLE}{svg[start:]}"
