"""`python -m embconvert`, the console script, and what the image starts.

The command line takes a while to import, and a signal may come meanwhile; so it is imported last.
"""

from typing import NoReturn

from embconvert.processes.signals import end_at_once


def main() -> NoReturn:
    """Runs the command line."""
    # The kernel delivers no signal to process 1, as in a container, that it has no handler for.
    end_at_once()

    from embconvert.cli.main import main as run

    run()


if __name__ == "__main__":
    main()
