"""Training: data, initialisation, loss, optimizers, the loop, and export to a weights file.

Imports: `engine` and below. Of the package only `cli` imports this folder; benchmarks and tests may.
Start reading: `loop.py`; `export.py` turns a run into the weights that ship.
"""
