"""Runs a plan: what is done already, each file made and verified, all published at the end."""
