"""`python -m bench`."""

from .suite.cli import bench_command

if __name__ == "__main__":  # measuring processes import this module under another name
    bench_command(prog_name="python -m bench")
