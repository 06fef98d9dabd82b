"""Models that run elsewhere: mxnet-ssd's deploy form, and ONNX."""
