"""What a scraper gets: by hand on a fake reactor, over loopback, and from a real Prometheus."""
