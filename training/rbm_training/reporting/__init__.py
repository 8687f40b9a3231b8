"""What a finished run says of itself: its summary and its page."""
