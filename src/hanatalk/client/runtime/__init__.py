"""Runs the engine on asyncio: relay connections, timers, the profile folder, the door for other processes."""
