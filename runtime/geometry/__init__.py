"""Where things lie: how a frame is divided into views, where a view lies in it, and resampling."""
