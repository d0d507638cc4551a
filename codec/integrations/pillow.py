"""Registration of the codec with Pillow, which then opens and saves `.cae` files."""

from __future__ import annotations


def register_pillow() -> None:
    """Let `PIL.Image.open` read `.cae` files and `Image.save` write them, in this process.

    `import codec.CodecImagePlugin` does the same, and its docstring lists the options. Repeated
    calls are harmless. torch is loaded when pixels are first needed. Processes that were not forked
    from this one must call this function too, for example the workers of a `DataLoader` with
    "spawn" or "forkserver"; see `worker_init`.
    """
    from codec import CodecImagePlugin

    CodecImagePlugin.register()


def worker_init(worker_id: int = 0) -> None:
    """Let the workers of a `DataLoader` open `.cae` files with Pillow.

    Use it as `DataLoader(..., worker_init_fn=codec.worker_init)`.
    """
    register_pillow()
