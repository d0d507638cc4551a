"""Encoding and decoding of pictures with a loaded model: threads, tiles and targets.

Imports: `coding`, `pictures`, `format`, `model`. `api.py` calls this folder, never the reverse.
Start reading with `encoding.py` and `decoding.py`. Both use `loaded_model.py`.
"""
