"""Stream: chunks over one persistent connection, in virtual time and on a network in memory."""
