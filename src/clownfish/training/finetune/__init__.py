"""Fine-tuning in PyTorch: the network's own weights learn too. Only this folder imports PyTorch, in a helper process.

network.py       what is asked of a network, and the layer on top
efficientnet_lite.py  the bundled networks: weights to features, as the ONNX builder of the backbone does it
timm_network.py  the models of timm, likewise
augmentation.py  a photo to a slightly different one, for training
batches.py       photos or cached activations to batches, one ahead of the step
optimisation.py  the steps of one epoch: schedule, rates by depth, averaged weights
checkpoints.py   the state after each epoch and inside long ones, whole or not at all
worker.py        what the helper process is asked: one epoch a request
"""
