"""The spool: first in, first out, through kills, full disks and damaged files, with books that balance."""
