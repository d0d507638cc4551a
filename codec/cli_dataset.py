"""`codec dataset`."""

import click

__all__ = ["click"]
