"""Files: fetched from safe addresses only, probed, and put into the output folder."""
