"""The command `acdc-medsam`: a module of this room is a command."""
