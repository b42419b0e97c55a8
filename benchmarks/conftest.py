"""The scripts here are run by themselves; pytest runs ``test_contests.py``."""

collect_ignore_glob = ["[!t]*"]
