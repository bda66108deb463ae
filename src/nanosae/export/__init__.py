"""Features for other programs: vector stores, ONNX, sentence-transformers and others."""
