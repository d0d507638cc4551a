"""Readers of what picture files hold beside the pixels, one module for each container.

Each has `read(file, image, found)`. It keeps what `Found` has a place for, passes over what only
describes the layout of the pixels, and names all the rest, known or not. Files are not trusted:
lengths are checked against the file, and no more than `limits.MAX_METADATA` is read of a kind.
"""
