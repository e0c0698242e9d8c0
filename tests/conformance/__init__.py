"""The protocol's own conformance suite against our HTTP server, and against our tasks module."""
