"""The sandbox's Google Flow API."""
