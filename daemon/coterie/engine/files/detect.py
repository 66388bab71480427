"""Tells workflow files of the engine from all others."""

import re
from typing import Final

VERSION: Final = 1

_YAML: Final = re.compile(r"""^(?:\ufeff)?(?:coterie|"coterie"|'coterie')[ \t]*:(?:[ \t]|$)""", re.MULTILINE)
_JSON: Final = re.compile(r"""^\ufeff?\s*\{(?:[^{}\[\]]*,)?\s*"coterie"\s*:""")


def is_engine_file(text: str) -> bool:
    """Has it the key `coterie` at its top? Cheap: whether the rest is sound is for the reader to say.

    In JSON the key is looked for before the first list or object.
    """
    return bool(_JSON.match(text) or _YAML.search(text))
