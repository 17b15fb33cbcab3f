"""Programs on several ranks and on sites: started, started again, submitted."""
