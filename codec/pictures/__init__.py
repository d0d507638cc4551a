"""Pictures in other forms: arrays, PIL images, tensors and picture files.

Imports: `format` (the geometry of tiles, metadata). Loads neither `model` nor torch.
Start reading: `picture.py`, which checks and describes the input; `reading.py`, which reads picture
files; `formats.py`, which says which ones; `writing.py`, which writes them.
"""
