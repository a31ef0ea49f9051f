"""What people do with each other and with their devices: invites, groups, linking."""
