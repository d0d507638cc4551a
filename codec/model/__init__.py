"""The networks of the codec: transforms, entropy model, exact arithmetic, weights on disk."""
