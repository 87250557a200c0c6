"""Entry point of the packed executable."""

from .commands import main

main()
