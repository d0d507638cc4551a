"""Encoding and decoding of pictures with a loaded model: threads, tiles and targets.

Imports: `coding`, `pictures`, `format`, `model`, `entropy_coder`. `api.py` calls this folder,
not the other way round.
Start reading with `worker.py`, the class `Codec`, which calls `encoding.py` and `decoding.py`.
"""
