"""`python -m clownfish` is the same as `clownfish`."""

from clownfish.cli import main

main()
