"""The models in service and how they come, change and go."""
