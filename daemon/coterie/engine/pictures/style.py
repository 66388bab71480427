"""The style sheet of all SVG pictures: GitHub's palette, light and dark."""

from typing import Final

_LIGHT: Final = (
    "--page:#fff;--box:#f6f8fa;--line:#8c959f;--text:#1f2328;--quiet:#59636e;"
    "--good:#1a7f37;--bad:#cf222e;--warn:#9a6700;--busy:#0969da;--idle:#6e7781"
)
_DARK: Final = (
    "--page:#0d1117;--box:#161b22;--line:#6e7681;--text:#e6edf3;--quiet:#9198a1;"
    "--good:#3fb950;--bad:#f85149;--warn:#d29922;--busy:#58a6ff;--idle:#8b949e"
)
_STATES: Final = {
    "completed": "good",
    "success": "good",
    "failed": "bad",
    "failure": "bad",
    "cancelled": "warn",
    "running": "busy",
    "ready": "busy",
    "queued": "busy",
    "skipped": "idle",
    "pending": "idle",
}

DOCUMENT_STYLE: Final = "".join(
    [
        f"svg{{{_LIGHT};color-scheme:light dark}}",
        f"@media (prefers-color-scheme:dark){{svg{{{_DARK}}}}}",
        "text{font:13px system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;fill:var(--text)}",
        ".page{fill:var(--page)}.heading{font-size:16px;font-weight:600}",
        ".quiet{font-size:11px;font-weight:400;fill:var(--quiet)}",
        ".edges path{fill:none;stroke:var(--line);stroke-width:1.3;stroke-opacity:.75}",
        ".node rect{fill:var(--box);stroke:var(--mark,var(--line));stroke-width:1.5}",
        ".sign{fill:none;stroke:var(--mark);stroke-width:2;stroke-linecap:round;stroke-linejoin:round}",
        ".filled{fill:var(--mark);stroke:none}",
        ".state-skipped rect,.state-pending rect,.more rect{stroke-dasharray:4 3}",
        ".on-bar{fill:none;stroke:var(--page);stroke-width:2;stroke-linecap:round}",
        ".bar{fill:var(--mark)}.wait{fill:var(--mark);fill-opacity:.25}.grid{stroke:var(--line);stroke-opacity:.3}",
        *(f".state-{state}{{--mark:var(--{colour})}}" for state, colour in _STATES.items()),
    ]
)
