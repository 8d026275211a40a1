"""From a deployment and its requests to a simulated run, and from the run to an estimate."""
