"""Training. Nothing outside this folder but the command line imports it."""
