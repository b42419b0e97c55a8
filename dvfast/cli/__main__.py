"""``python -m dvfast.cli``."""

from . import main

main()
