"""Simulations on real photos that check what clownfish claims; run as `python -m validation.NAME`."""
