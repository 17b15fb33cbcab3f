"""Starting programs: on several ranks, again after a loss, and on sites by their job scripts."""
