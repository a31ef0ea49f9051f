"""Coverage-guided attacks on every parser (T-088). `python -m fuzz --list` names them; README.md says how."""
