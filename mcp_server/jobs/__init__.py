"""What happens to a job: submitted once, followed to its end, saved."""
