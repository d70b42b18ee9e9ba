"""From a camera frame to the network's input: views, the mask, and whether the frame can be judged."""
