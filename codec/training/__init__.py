"""Training: data, initialisation, loss, optimizers, the loop, and export to a weights file.

Imports: `engine` and below. Within the package only `cli` imports this folder. Benchmarks and tests
may import it too.
Start reading: `loop.py` trains a model. `export.py` turns a run into weights that can be shipped.
"""
