"""Whole tools of the field, each run in a process of an environment that has it.

Nothing here imports dvfast, and the tools are imported where they are used: these modules run in
the tools' environment (``python PATH/TO/other_tools TOOL --threads N``), which has no dvfast. Ours
speaks with them through :mod:`dvfast.bench.workers`.
"""
