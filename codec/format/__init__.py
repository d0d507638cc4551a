"""The byte format of `.cae` files and of dataset rows. The specification is FORMAT.md.

Imports: `errors` and `limits`, and otherwise only the standard library.
Start reading: `container.py`, whole files; `header.py`, their headers; `tiling.py`, the geometry.
"""
