"""Conversion between latents or samples and the payloads of a file, one tile at a time.

Imports: `pictures` (its array types), `format`, `model`, `entropy_coder`. This package accesses no
files on disk and starts no threads.
Start reading: `latents.py`, which every photograph passes through; `stored.py`, for lossless data.
"""
