"""The vendor's API as its documents describe it. Imports nothing of the server's own code."""
