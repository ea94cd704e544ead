"""Fine-tuning in PyTorch: the network's own weights learn too. Only this folder imports PyTorch, in a helper process.

network.py       what is asked of a network, and the layer on top
efficientnet_lite.py  the bundled networks: weights to features, as the ONNX builder of the backbone does it
timm_network.py  the models of timm, likewise
augmentation.py  a photo to a slightly different one, for training
device.py        where it computes: processor or graphics card
batches.py       photos or cached activations to batches, one ahead of the step
optimisation.py  the steps of one epoch: schedule, rates by depth, averaged weights
checkpoints.py   the state after each epoch and inside long ones, whole or not at all
worker.py        what the helper process is asked: one epoch a request
"""

import os

os.environ.setdefault(
    "PYTORCH_ENABLE_MPS_FALLBACK", "1"
)  # read when torch is imported: what Apple's lacks, the CPU does
