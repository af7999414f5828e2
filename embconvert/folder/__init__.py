"""The output folder: staging, publishing, disk space, locks, files for consumers."""
