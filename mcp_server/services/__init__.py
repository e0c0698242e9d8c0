"""One adapter for each vendor service, and the list of them."""
