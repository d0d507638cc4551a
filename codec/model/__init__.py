"""The networks: transforms, entropy model, exact arithmetic, weights on disk.

Imports: `entropy_coder` (its tables) and `errors`. No pictures, no files but weights.
Start reading: `network.py`, which joins the parts; `exact.py`, the arithmetic that is equal on every machine.
"""
