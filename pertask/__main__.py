"""``python -m pertask``: the same as the ``pertask`` command."""

from pertask.cli import main

main()
