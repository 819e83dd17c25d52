"""The reporter: every interval it collects, encodes and delivers, and it never dies."""
