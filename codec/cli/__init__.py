"""The command line: `codec compress`, `codec dataset`, `codec train` and the other commands.

Imports: everything else in the package. Nothing imports this folder.
Start reading: `main.py` defines the group of commands, `compress.py` the most used ones. `jobs.py`
finds inputs and outputs, `running.py` runs a command on many files, `entry.py` ends the program.
"""
