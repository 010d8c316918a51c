"""What trains: train, resume, ensembles, reproductions, one's own networks."""
