"""The image's entry point: the same as `embconvert`."""

import os
import signal

if __name__ == "__main__":
    # The kernel delivers no signal to process 1 that it has no handler for, and the imports take
    # a while. The command line installs its own.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))

    from embconvert.cli.main import main

    main()
