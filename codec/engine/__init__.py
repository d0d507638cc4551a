"""Encoding and decoding of pictures with a loaded model: threads, tiles and targets.

Imports: `coding`, `pictures`, `format`, `model`, `entropy_coder`. `api.py` calls this folder,
not the other way round.
Start reading with `encoding.py` and `decoding.py`. Both use `loaded_model.py`.
"""
