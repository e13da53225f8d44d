"""hicra: strategic grams, HICRA training and the diagnostics of arXiv 2509.03646 on the command line.

`stages/` and `configs/` lie beside this folder in a checkout and inside it in a wheel; code always says
`hicra_cli.stages` and `hicra_cli.configs`.
"""

from pathlib import Path

__version__ = "0.1.0"

_root = Path(__file__).resolve().parent.parent
if (_root / "stages" / "__init__.py").is_file() and not (_root / "hicra_cli" / "stages").exists():
    __path__.append(str(_root))
