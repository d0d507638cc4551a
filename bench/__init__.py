"""Measurements: rate–distortion, speed, and the demonstration. Not part of the installed package."""
