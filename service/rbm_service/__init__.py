"""The service: loads the promoted bundle of a model and classifies nodes over HTTP."""
