"""Pumps one WebSocket to one wire connection; owns sockets, clock and timers."""
