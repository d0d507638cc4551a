"""Benchmarks of codecs on pictures: `python -m bench`.

In an installed package this is `codec.bench`.
"""
