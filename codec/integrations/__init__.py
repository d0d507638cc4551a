"""Integrations with other libraries: Pillow, Zarr, numcodecs and Ray. There is one file for each.

Imports: `CodecImagePlugin`, `api` and below. This folder does not import `data`.
Start reading: `chunks.py` is shared by the Zarr and numcodecs codecs. The Pillow plugin itself is
`codec/CodecImagePlugin.py`: Pillow's plugins are modules named after their format.
"""
