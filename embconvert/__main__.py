"""Entry point of `python -m embconvert`, of the console script and of the image.

Signals are handled from here on, before the command line is imported, which takes a moment.
"""

from typing import NoReturn

from embconvert.processes.signals import end_at_once


def main() -> NoReturn:
    # In a container this is process 1, which receives only signals that it has a handler for.
    end_at_once()

    from embconvert.cli.main import main as run

    run()


if __name__ == "__main__":
    main()
