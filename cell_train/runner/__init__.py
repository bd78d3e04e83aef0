"""Running the stages of a run folder, one worker process each."""
