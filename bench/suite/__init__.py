"""Implementation of `codec bench` and `python -m bench`: codecs, measures, results, tables, report.

Start reading with `cli.py`, then `run.py`.
"""
