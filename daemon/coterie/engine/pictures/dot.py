"""Graphviz: the whole graph, however large (graphviz.org/doc/info/lang.html)."""

from typing import Final

from coterie.engine.pictures.drawing import Drawing, DrawnNode

COLOURS: Final = {
    "completed": "#1a7f37", "success": "#1a7f37", "failed": "#cf222e", "failure": "#cf222e", "cancelled": "#9a6700",
    "skipped": "#6e7781", "running": "#0969da", "ready": "#0969da", "queued": "#0969da", "pending": "#6e7781",
}  # fmt: skip
DASHED: Final = frozenset({"skipped", "pending", "cancelled"})


def dot(drawing: Drawing) -> str:
    """A `digraph` whose nodes are named by their ids."""
    lines = [
        f"digraph {_quoted(drawing.title)} {{",
        '  graph [rankdir=LR, ranksep=0.6, nodesep=0.25, fontname="sans-serif"];',
        '  node [shape=box, style=rounded, fontname="sans-serif", fontsize=11];',
        "  edge [arrowsize=0.7];",
    ]
    names = [_quoted(node.id) for node in drawing.nodes]
    lines += [f"  {name} [{_attributes(node)}];" for name, node in zip(names, drawing.nodes, strict=True)]
    lines += [f"  {names[need]} -> {names[node]};" for need, node in drawing.edges]
    return "\n".join([*lines, "}", ""])


def _attributes(node: DrawnNode) -> str:
    state = [node.state] if node.state else []
    label = "\\n".join(_escaped(part) for part in [node.label, *filter(None, [node.detail]), *state])
    attributes = [f'label="{label}"']
    if node.state:
        attributes.append(f'color="{COLOURS.get(node.state, "#6e7781")}"')
        if node.state in DASHED:
            attributes.append('style="rounded,dashed"')
    return ", ".join(attributes)


def _quoted(name: str) -> str:
    # In a name only the quote is escaped, but a backslash before the closing quote would escape that: double them all.
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'


def _escaped(text: str) -> str:
    """Text in a label, where Graphviz reads backslashes and HTML entities."""
    plain = "".join(one if one.isprintable() else " " for one in text)
    return plain.replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"')
