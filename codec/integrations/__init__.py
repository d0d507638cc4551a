"""The codec inside other libraries: Pillow, Zarr, numcodecs, Ray. One file for each.

Imports: `api` and below. Not `data`.
Start reading: `chunks.py`, which the Zarr and numcodecs codecs share. The Pillow plugin itself is
`codec/CodecImagePlugin.py`, where Pillow looks for it.
"""
