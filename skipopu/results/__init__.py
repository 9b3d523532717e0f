"""What a run comes to: summary, audit, events, timeline, report; raw integers in, files out."""
