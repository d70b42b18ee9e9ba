"""What a machine says of itself: its files below /proc and /sys, its commands, its board, processor, clock and heat."""
