"""Runs a plan: reuses, makes and verifies files, then publishes them."""
