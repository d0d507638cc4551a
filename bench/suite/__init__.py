"""What `codec bench` and `python -m bench` run: codecs, measures, results, tables, the report.

Start reading: `cli.py`, then `run.py`.
"""
