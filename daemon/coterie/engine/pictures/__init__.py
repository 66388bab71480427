"""Pictures of plans and runs, as text, Graphviz and SVG. Pure functions: a drawing in, a text out."""
