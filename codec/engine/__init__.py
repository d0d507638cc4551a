"""A loaded model at work on pictures: encoding, decoding, threads, targets.

Imports: `coding`, `pictures`, `format`, `model`. `api.py` calls this folder, never the reverse.
Start reading: `encoding.py` and `decoding.py`; `loaded_model.py` is what they share.
"""
