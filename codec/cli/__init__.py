"""The command line: `codec compress`, `codec dataset`, `codec train` and the others.

Imports: everything else in the package. Nothing imports this folder.
Start reading: `main.py`, the group of commands; `jobs.py` runs a command over many files.
"""
