"""Attachments and bundles on their way, chunk by chunk."""
