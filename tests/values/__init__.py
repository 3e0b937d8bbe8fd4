"""Generated values of every type, written into real sources, synced by the real engine, and read back by others."""
