"""The verbs that measure and verify."""
