"""The frame and templates of pages and reports."""
