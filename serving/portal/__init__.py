"""The web portal: the six applications in a browser, and as a JSON API, on served models."""
