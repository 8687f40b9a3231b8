"""The builder of ONNX graphs."""
