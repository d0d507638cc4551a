"""The bytes of `.cae` files and of dataset rows. Standard library only; the specification is FORMAT.md.

Imports: `errors` and `limits`.
Start reading: `container.py`, whole files; `header.py`, their headers; `tiling.py`, the geometry.
"""
