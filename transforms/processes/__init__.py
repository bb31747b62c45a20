"""Work that is handed to processes of this machine, without Beam's workers."""
