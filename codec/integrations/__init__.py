"""The codec inside other libraries: one small file each."""
