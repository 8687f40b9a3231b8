"""`report.html`: the page that a training run leaves for people to look at."""

from rbm_training.reporting.html.render import PAGE_FILE, render_page, write_page

__all__ = ["PAGE_FILE", "render_page", "write_page"]
