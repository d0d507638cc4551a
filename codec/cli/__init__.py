"""The command line: `codec compress`, `codec dataset`, `codec train` and the other commands.

Imports: everything else in the package. Nothing imports this folder.
Start reading: `main.py` defines the group of commands. `jobs.py` runs a command on many files.
"""
