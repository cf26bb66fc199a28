"""besom for Lightning: a callback, a logger and a command line that make a Trainer part of a sweep."""
