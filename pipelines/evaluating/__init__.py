"""The parts of the evaluate job."""
