"""Pillow opens and saves `.cae` files once the codec is registered with it."""

from __future__ import annotations


def register_pillow() -> None:
    """Let `PIL.Image.open` read `.cae` files and `Image.save` write them, in this process.

    `import codec.CodecImagePlugin` does the same, and says which options there are. To call it again does no
    harm. Torch is loaded when the first pixel is needed. Processes that were not forked from this one, as
    those of a `DataLoader` with "spawn" or "forkserver", have to call it too: see `worker_init`.
    """
    from codec import CodecImagePlugin

    CodecImagePlugin.register()


def worker_init(worker_id: int = 0) -> None:
    """`DataLoader(..., worker_init_fn=codec.worker_init)`: its workers open `.cae` files with Pillow."""
    register_pillow()
