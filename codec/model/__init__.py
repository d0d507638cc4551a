"""The networks: transforms, entropy model, exact arithmetic, weights on disk.

Imports: `entropy_coder` (its tables). This folder handles no pictures and no files
other than weights.
Start reading: `network.py` joins the parts. `exact.py` defines the arithmetic that gives the same
result on every machine.
"""
