"""What people see: names looked up, chats, messages, attachments, search. Reads only."""
