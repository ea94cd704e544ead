"""PyTorch that two stages share: what turns models of timm into graphs, and what fine-tunes them.

statistics.py    mean and deviation over space, which features are made of
timm_network.py  a model of timm as clownfish sees it: by name, with its weights, from pixels to features

Only helper processes import it.
"""
