"""What is asked of a deployment: request shapes, later arrivals and traces."""
