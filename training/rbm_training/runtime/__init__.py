"""What a run leaves and where it runs: log, environment, artifacts."""
