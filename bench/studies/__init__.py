"""Programs that answer one question each: `python -m bench.studies.NAME`.

They may use `bench.suite`.
"""
