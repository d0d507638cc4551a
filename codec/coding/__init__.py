"""Between latents or samples and the payloads of a file: one tile at a time.

Imports: `pictures` (its array types), `format`, `model`, `entropy_coder`. No files on disk, no threads.
Start reading: `latents.py`, the path of every photograph; `stored.py` for what is kept exactly.
"""
