"""`python -m embconvert` is the same as `embconvert`."""

from embconvert.cli import main

if __name__ == "__main__":
    main()
