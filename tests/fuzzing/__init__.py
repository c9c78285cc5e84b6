"""Calls made from the public service model, valid and broken in every way it allows, and a judge for the answers."""
