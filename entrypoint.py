"""The image's entry point: the same as `embconvert`."""

from embconvert.__main__ import main

if __name__ == "__main__":
    main()
