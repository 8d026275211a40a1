"""What a simulation is described by: :class:`~tokenroof.api.spec.core.Spec` and its sections."""
