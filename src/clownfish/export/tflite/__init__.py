"""From `model.onnx` to a TensorFlow Lite file, by a writer of our own: no TensorFlow and no PyTorch.

lowering.py      ONNX graph to TFLite operations; channels last
quantization.py  float weights and activations to half precision or 8-bit integers
flatbuffer.py    operations to the bytes of the file
metadata.py      labels and what clownfish knows, in the standard form and as JSON
"""
