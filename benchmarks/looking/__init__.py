"""What the part ``looks`` needs: a server whose numbers are kept for a page, or scraped."""
