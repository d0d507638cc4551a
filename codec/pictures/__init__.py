"""Pictures in other forms: arrays, PIL images, tensors and picture files.

Imports: `format` (the geometry of tiles, metadata). Loads neither `model` nor torch.
Start reading: `picture.py`, which checks and describes the input; `files.py`, which reads and
writes picture files.
"""
