"""Training. Of the package only the command line imports it; tests and benchmarks may."""
