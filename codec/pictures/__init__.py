"""Pictures of other formats: arrays, PIL images, tensors, and picture files.

Imports: `format` (the geometry of tiles, metadata). Neither `model` nor torch at import.
Start reading: `picture.py`, which checks and describes the input; `files.py` reads and writes picture files.
"""
