"""``python -m greenroom.actors.cli``."""

from . import main

main()
