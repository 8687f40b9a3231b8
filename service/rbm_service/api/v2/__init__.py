"""The Open Inference Protocol v2 over HTTP, as Triton and KServe speak it, for their clients as they are."""
