"""``python -m greenroom.transport.demo``."""

from .agent import main

main()
