"""ONNX Runtime: sessions, the shapes they run in, and the tensors that go in and out."""
