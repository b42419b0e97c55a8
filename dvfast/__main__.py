"""``python -m dvfast`` is the command ``dvfast``."""

from .cli import main

main()
