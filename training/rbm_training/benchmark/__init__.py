"""Methods side by side: one protocol, one command, a line for every run, and the page rendered from them."""
