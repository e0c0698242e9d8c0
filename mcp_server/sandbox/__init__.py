"""The vendor's API as its documents tell it. It imports nothing of the server's own code."""
