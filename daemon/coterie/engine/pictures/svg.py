"""A plan or a run as one SVG file: no script, nothing from elsewhere, readable by day and by night."""

from collections.abc import Sequence
from html import escape
from typing import Final

from coterie.engine.pictures.drawing import Drawing, DrawnNode, collapsed
from coterie.engine.pictures.layers import layout
from coterie.engine.pictures.style import DOCUMENT_STYLE
from coterie.engine.pictures.words import cut, printable, sign_of

NODES_MAX: Final = 200
NODE_WIDTH: Final = 176
NODE_HEIGHT: Final = 44
LAYER_STEP: Final = NODE_WIDTH + 72
PLACE_STEP: Final = NODE_HEIGHT + 20
MARGIN: Final = 24
HEADING: Final = 44
LABEL_CHARS: Final = 20
DETAIL_CHARS: Final = 26


def svg(drawing: Drawing) -> str:
    """The drawing, its layers from left to right. Over 200 nodes it says how many it leaves out."""
    small = collapsed(drawing, NODES_MAX)
    found = layout(small)
    boxes = [
        (MARGIN + node.batch * LAYER_STEP, HEADING + MARGIN + found.places[place] * PLACE_STEP)
        for place, node in enumerate(small.nodes)
    ]
    width = 2 * MARGIN + max(found.layers - 1, 0) * LAYER_STEP + NODE_WIDTH
    height = HEADING + 2 * MARGIN + max(found.places, default=0.0) * PLACE_STEP + NODE_HEIGHT
    parts = [
        *_head(drawing, small, width, height),
        '<g class="edges">',
        *(_edge(path) for path in found.paths),
        "</g>",
        *(_node(node, x, y) for node, (x, y) in zip(small.nodes, boxes, strict=True)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _head(drawing: Drawing, small: Drawing, width: float, height: float) -> list[str]:
    title = escape(printable(drawing.title))
    left_out = sum(node.stands_for for node in small.nodes)
    counted = f"{len(drawing.nodes):,} steps, {len(drawing.edges):,} needs"
    told = f"{counted}; {left_out:,} steps are not shown" if left_out else counted
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:.0f}" width="{width:g}"'
        f' height="{height:.0f}" role="img" aria-labelledby="title desc">',
        f'<title id="title">{title}</title>',
        f'<desc id="desc">Steps from left to right: {told}. Lines lead from a step to those that need it.</desc>',
        f"<style>{DOCUMENT_STYLE}</style>",
        '<rect class="page" width="100%" height="100%"/>',
        f'<text class="heading" x="{MARGIN}" y="30">{title}<tspan class="quiet" dx="12">{told}</tspan></text>',
    ]


def _edge(path: Sequence[tuple[int, float]]) -> str:
    """From the right side of a box to the left side of another, level through each bend between."""
    (layer, place), *rest = path
    x, y = MARGIN + layer * LAYER_STEP + NODE_WIDTH, _middle(place)
    drawn = [f"M{x} {y:.1f}"]
    for number, (layer, place) in enumerate(rest):
        to_x, to_y = MARGIN + layer * LAYER_STEP, _middle(place)
        half = (to_x - x) / 2
        drawn.append(f"C{x + half:g} {y:.1f} {to_x - half:g} {to_y:.1f} {to_x} {to_y:.1f}")
        x, y = to_x, to_y
        if number < len(rest) - 1:
            x += NODE_WIDTH
            drawn.append(f"H{x}")
    return f'<path d="{"".join(drawn)}"/>'


def _middle(place: float) -> float:
    return HEADING + MARGIN + place * PLACE_STEP + NODE_HEIGHT / 2


def _node(node: DrawnNode, x: float, y: float) -> str:
    label, detail = printable(node.label), printable(node.detail)
    state = printable(node.state or "")
    below = " · ".join(filter(None, (detail, state)))
    kind = "more" if node.stands_for else f"state-{state}" if state.isalpha() and state.isascii() else "plan"
    told = escape(", ".join(filter(None, (printable(node.id), detail, state))))
    sign, filled = sign_of(node.state).path, " filled" if sign_of(node.state).filled else ""
    mark = f'<path class="sign{filled}" transform="translate(16 16)" d="{sign}"/>' if node.state else ""
    left = 28 if node.state else 12
    drawn = [
        f'<g class="node {kind}" transform="translate({x:g} {y:.1f})"><title>{told}</title>',
        f'<rect width="{NODE_WIDTH}" height="{NODE_HEIGHT}" rx="6"/>{mark}',
        f'<text x="{left}" y="{20 if below else 27}">{escape(cut(label, LABEL_CHARS - bool(node.state) * 2))}</text>',
    ]
    if below:
        drawn.append(
            f'<text class="quiet" x="{left}" y="35">{escape(cut(below, DETAIL_CHARS - bool(state) * 2))}</text>'
        )
    return "".join([*drawn, "</g>"])
