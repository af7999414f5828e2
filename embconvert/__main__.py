"""`python -m embconvert` is the same as `embconvert`."""

from embconvert.cli.main import main

if __name__ == "__main__":
    main()
