"""The vendor's API: requests, retries, and what its responses mean."""
